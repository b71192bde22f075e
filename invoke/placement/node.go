package placement

import (
	"time"

	"kiln/invoke"
)

// node is one living worker and what has been placed on it.
type node struct {
	status   invoke.WorkerStatus
	heard    time.Time
	index    int32 // in Core.nodes
	claimed  claim // by its slots
	slots    int32
	first    *slot // of its slots
	draining bool  // by command
	aging    bool  // by age
	resting  bool  // not needed; see Config.PackTo
	// refused is the smallest memory that the worker has refused room for since it
	// was last heard or freed something; 0 for none.
	refused int32
}

// open reports whether the node takes slots at all.
func (n *node) open() bool { return !n.draining && !n.aging && !n.status.Draining }

// claim is what slots claim of a worker.
type claim struct {
	memoryMB  int32
	cpuMillis int32
	storageMB int32
}

func (c *claim) add(d claim, sign int32) {
	c.memoryMB += sign * d.memoryMB
	c.cpuMillis += sign * d.cpuMillis
	c.storageMB += sign * d.storageMB
}

// load is how much of each resource of the node would be in use with d more,
// as shares of what may be claimed.
type load struct{ memory, cpu, storage, network float64 }

func (c *Core) load(n *node, d claim, slots int) load {
	over, limit := &c.cfg.Overcommit, &n.status.Capacity
	return load{
		memory:  share(n.claimed.memoryMB+d.memoryMB, limit.MemoryMB, over.Memory),
		cpu:     share(n.claimed.cpuMillis+d.cpuMillis, limit.CPUMillis, over.CPU),
		storage: share(n.claimed.storageMB+d.storageMB, limit.StorageMB, over.Storage),
		network: share(max(n.slots, int32(n.status.Slots))+int32(slots), limit.Slots, 1),
	}
}

// share returns used as a share of limit; what has no limit counts as unused.
func share(used int32, limit int, factor float64) float64 {
	if limit <= 0 {
		return 0
	}
	return float64(used) / (float64(limit) * factor)
}

// peak is the load of the scarcest resource.
func (l load) peak() float64 { return max(l.memory, l.cpu, l.storage, l.network) }

// unevenness grows with the load, and faster where one resource is ahead.
func (l load) unevenness() float64 {
	return l.memory*l.memory + l.cpu*l.cpu + l.storage*l.storage + l.network*l.network
}

// workload is the slots of one function or one account, whose load is
// taken to rise and fall together.
type workload struct {
	on map[int32]*presence // by node
	// nodes are the same, the likeliest to have room for more last.
	nodes []int32
}

type presence struct {
	memoryMB int32
	place    int32 // in workload.nodes
}

// at returns the memory that the workload claims on a node.
func (w *workload) at(node int32) int32 {
	if p := w.on[node]; p != nil {
		return p.memoryMB
	}
	return 0
}

// add changes what the workload claims on a node, and makes the node the first
// to be considered again.
func (w *workload) add(node, memoryMB int32) {
	p := w.on[node]
	if p == nil {
		p = &presence{place: int32(len(w.nodes))}
		w.on[node] = p
		w.nodes = append(w.nodes, node)
	}
	p.memoryMB += memoryMB
	last := int32(len(w.nodes) - 1)
	if p.place != last {
		w.nodes[p.place] = w.nodes[last]
		w.on[w.nodes[p.place]].place = p.place
		w.nodes[last], p.place = node, last
	}
	if p.memoryMB <= 0 {
		w.nodes = w.nodes[:last]
		delete(w.on, node)
	}
}

package network

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func itoa(i int) string { return strconv.Itoa(i) }

// state is what a network may change on a node.
type state struct {
	links, tables []string
	forward       string
	mounts        int
}

func (w world) state(t *testing.T) state {
	t.Helper()
	var s state
	s.links = links(t, w.node)
	var err error
	if s.tables, err = tablesLike(open(t, w.node), ""); err != nil {
		t.Fatal(err)
	}
	enter(t, w.node, func() (err error) {
		s.forward, err = readSysctl(forwarding)
		return err
	})
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	s.mounts = strings.Count(string(b), w.dir)
	return s
}

func (s state) equal(o state) bool {
	return slices.Equal(s.links, o.links) && slices.Equal(s.tables, o.tables) && s.forward == o.forward && s.mounts == o.mounts
}

func TestCloseLeavesNothing(t *testing.T) {
	for _, egress := range []bool{false, true} {
		w := newWorld(t)
		before := w.state(t)
		n := w.network(t, Config{Egress: egress, Ready: 3})
		var slots []*Slot
		for range 5 {
			slots = append(slots, acquire(t, n))
		}
		n.Release(slots[0])
		during := w.state(t)
		if during.mounts == 0 {
			t.Error("no mounts while open")
		}
		if touched := !slices.Equal(during.links, before.links) || !slices.Equal(during.tables, before.tables) || during.forward != before.forward; touched != egress {
			t.Errorf("egress %v: node's state while open: %+v, before: %+v", egress, during, before)
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		if err := n.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
		if after := w.state(t); !after.equal(before) {
			t.Errorf("egress %v: before %+v, after %+v", egress, before, after)
		}
		if entries, _ := os.ReadDir(w.dir); len(entries) != 1 || entries[0].Name() != "lock" {
			t.Errorf("left in the directory: %v", entries)
		}
		if _, err := n.Acquire(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("Acquire after Close: %v", err)
		}
		n.Release(slots[1]) // must not hang
	}
}

// TestMain lets the test binary play a process that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("KILN_TEST_NETWORK_DIR"); dir != "" {
		os.Exit(becomeVictim(dir, os.Getenv("KILN_TEST_NETWORK_BASE")))
	}
	os.Exit(m.Run())
}

func becomeVictim(dir, base string) int {
	background, cancel := contextForVictim()
	defer cancel()
	n, err := Open(background, Config{Dir: dir, Base: base, Egress: true, Ready: 3})
	if err == nil {
		_, err = n.Acquire(background)
	}
	if err != nil {
		os.Stdout.WriteString(err.Error())
		return 1
	}
	os.Stdout.WriteString("ready")
	<-background.Done()
	return 0
}

func TestSweepAfterKill(t *testing.T) {
	w := newWorld(t)
	before := w.state(t)
	victim := exec.Command(os.Args[0])
	victim.Env = append(os.Environ(), "KILN_TEST_NETWORK_DIR="+w.dir, "KILN_TEST_NETWORK_BASE="+w.node)
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1000)
	size, _ := out.Read(buf)
	if got := string(buf[:size]); got != "ready" {
		t.Fatalf("victim: %s", got)
	}
	if _, err := Open(t.Context(), Config{Dir: w.dir, Base: w.node}); err == nil {
		t.Fatal("a second network in the same directory was opened")
	}
	victim.Process.Kill()
	victim.Wait()
	if w.state(t).equal(before) {
		t.Fatal("the victim left nothing, so this tests nothing")
	}
	n := w.network(t, Config{})
	if s := w.state(t); !slices.Equal(s.links, before.links) || !slices.Equal(s.tables, before.tables) || s.forward != before.forward || s.mounts != 2 {
		t.Errorf("before the victim %+v, after the sweep %+v", before, s)
	}
	acquire(t, n)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if after := w.state(t); !after.equal(before) {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

// TestChurn takes and gives back slots from many goroutines in a prefix that
// has room for few, so that addresses are used again.
func TestChurn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.network(t, Config{Prefix: mustPrefix("10.9.0.0/26"), Egress: true, Ready: 2})
	var mu sync.Mutex
	inUse := make(map[string]bool)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for made := 0; made < 20; {
				s, err := n.Acquire(t.Context())
				if errors.Is(err, errNoAddress) {
					time.Sleep(10 * time.Millisecond)
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				made++
				mu.Lock()
				if inUse[s.Address.String()] {
					t.Errorf("%s was handed out twice", s.Address)
				}
				inUse[s.Address.String()] = true
				mu.Unlock()
				l, err := s.ListenGateway(9001)
				if err != nil {
					t.Error(err)
					return
				}
				l.Close()
				mu.Lock()
				delete(inUse, s.Address.String())
				mu.Unlock()
				n.Release(s)
				n.Release(s) // a second time does nothing
			}
		})
	}
	wg.Wait()
}

// A process left in a released slot does not keep its address for ever.
func TestBuryRemovesHeldLink(t *testing.T) {
	n := newWorld(t).network(t, Config{})
	s := acquire(t, n)
	open(t, s.Path)
	if err := n.detach(s); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	list := []dying{{s, start}}
	if left := n.bury(list, start); len(left) != 1 {
		t.Fatal("a slot whose link exists was forgotten")
	}
	if left := n.bury(list, start.Add(2*removalPatience)); len(left) != 0 {
		t.Fatal("the link of a held slot was not removed")
	}
	if got := links(t, n.config.Dir+"/netns/router"); !slices.Equal(got, []string{"lo"}) {
		t.Errorf("links in the router: %v", got)
	}
}

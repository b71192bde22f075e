package worker

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"

	"kiln/invoke"
)

const (
	// reserveShare of the machine's memory is never given to slots: it is the
	// page cache's and the services'.
	reserveShare = 10 // percent
	// meterAge is how old a reading may be.
	meterAge = 50 * time.Millisecond
)

// memoryMeter says whether the machine has memory for one more slot. What
// slots hold is measured, not added up from their limits: a limit is a bound,
// and most functions stay far below it.
type memoryMeter struct {
	mu      sync.Mutex
	at      time.Time
	total   int // MB
	free    int // MB that could be had without swapping
	reserve int
}

func newMemoryMeter() *memoryMeter {
	m := &memoryMeter{}
	m.read()
	m.reserve = m.total * reserveShare / 100
	return m
}

// read refreshes the reading when it is old. m.mu is held, or m is new.
func (m *memoryMeter) read() {
	if now := time.Now(); now.Sub(m.at) > meterAge {
		m.at = now
		b, err := os.ReadFile("/proc/meminfo")
		if err != nil {
			return
		}
		m.total, m.free = meminfo(b, "MemTotal:"), meminfo(b, "MemAvailable:")
	}
}

func meminfo(b []byte, field string) int {
	_, rest, ok := bytes.Cut(b, []byte(field))
	if !ok {
		return 0
	}
	value, _, _ := bytes.Cut(bytes.TrimLeft(rest, " "), []byte(" "))
	kb, _ := strconv.Atoi(string(value))
	return kb >> 10
}

// fits reports whether there is room beside what is expected to be taken soon.
func (m *memoryMeter) fits(soonMB int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.read()
	return m.free-soonMB > m.reserve
}

func (m *memoryMeter) usedMB() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.read()
	return m.total - m.free
}

// expectedMB is what a function of the given memory size is expected to hold
// once it has started.
func expectedMB(memoryMB int) int { return min(memoryMB, 64) }

// machine is the whole machine as capacity.
func machine(m *memoryMeter, storage string) invoke.Resources {
	storageMB, _, known := disk(storage)
	if !known {
		storageMB = 1 << 30
	}
	return invoke.Resources{
		MemoryMB:  m.total - m.reserve,
		CPUMillis: 1000 * runtime.NumCPU(),
		StorageMB: storageMB,
		Slots:     4000,
	}
}

package network

import (
	"fmt"
	"testing"
)

// BenchmarkSlot measures the making and the removal of a slot with others
// existing, each with nothing made ahead.
func BenchmarkSlot(b *testing.B) {
	for _, existing := range []int{0, 250} {
		b.Run(fmt.Sprintf("existing=%d", existing), func(b *testing.B) {
			n := newWorld(b).network(b, Config{Egress: true})
			for range existing {
				acquire(b, n)
			}
			b.Run("make", func(b *testing.B) {
				for b.Loop() {
					acquire(b, n)
				}
			})
			b.Run("detach", func(b *testing.B) {
				made := make([]*Slot, b.N)
				for i := range made {
					made[i] = acquire(b, n)
				}
				b.ResetTimer()
				for _, s := range made {
					if err := n.detach(s); err != nil {
						b.Fatal(err)
					}
				}
			})
			// The rate that can be held: as many are removed as are made.
			b.Run("turnover", func(b *testing.B) {
				const inUse = 20
				var slots []*Slot
				for b.Loop() {
					slots = append(slots, acquire(b, n))
					if len(slots) > inUse {
						n.Release(slots[0])
						slots = slots[1:]
					}
				}
			})
		})
	}
}

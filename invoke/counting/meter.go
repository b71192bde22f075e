package counting

import "time"

// meter limits a rate with one instant: when its allowance will be whole again.
// Each spending moves that instant on by its cost; the allowance is exhausted
// when it lies a whole burst ahead. Nothing accrues beyond the burst, and the
// refill is continuous. The zero meter is full.
type meter struct{ whole time.Time }

// allows reports whether cost can be spent at now.
func (m *meter) allows(now time.Time, cost, burst time.Duration) bool {
	return m.whole.Sub(now)+cost <= burst
}

// spend takes cost out of the allowance.
func (m *meter) spend(now time.Time, cost time.Duration) {
	if m.whole.Before(now) {
		m.whole = now
	}
	m.whole = m.whole.Add(cost)
}

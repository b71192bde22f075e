package counting

import "time"

// windows is how many windows a warmLevel looks back on, the current one included.
const windows = 3

// warmLevel is how many environments a function is taken to have: the most it
// had in flight at once within the idle time-out. Environments are handed out
// most recently used first, so the n-th is in use exactly when n are in flight,
// and it is reclaimed when that has not happened for the time-out.
//
// The maximum is kept per window of half the time-out, so a level is forgotten
// between 1 and 1.5 time-outs after it was last reached.
type warmLevel struct {
	start time.Time // of the current window
	peaks [windows]int
}

// roll moves on to the window of now. The number in flight has not changed
// since the last event, so it is the peak of every window passed over.
func (w *warmLevel) roll(now time.Time, inFlight int, idle time.Duration) {
	width := idle / (windows - 1)
	passed := now.Sub(w.start)
	if passed < width {
		return
	}
	steps := passed / width
	w.start = w.start.Add(steps * width)
	for range min(int(steps), windows) {
		copy(w.peaks[1:], w.peaks[:windows-1])
		w.peaks[0] = inFlight
	}
}

// level returns how many environments there are.
func (w *warmLevel) level() int { return max(w.peaks[0], w.peaks[1], w.peaks[2]) }

// reach notes that inFlight are in flight in the current window.
func (w *warmLevel) reach(inFlight int) { w.peaks[0] = max(w.peaks[0], inFlight) }

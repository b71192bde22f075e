// Package counting is the counting service: a region-wide view of concurrency
// per account and per function, asked on every invoke.
//
// Core is the deterministic state of one partition (all functions of some
// accounts): it is told the time, does no I/O and starts nothing. Service is
// its shell in a process: a lock, a clock and a timer.
//
// A grant is made by one owner alone, so no combination of partial views can
// add up to more than the limit. When ownership moves, the new owner has a
// higher epoch and knows nothing: it grants nothing until every front end has
// listed what it has in flight, or has had time to notice that it was cut off.
package counting

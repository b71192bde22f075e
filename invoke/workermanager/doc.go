// Package workermanager is the worker manager: it tracks every slot of the
// functions in its care as starting, idle or busy, and gives each request the
// reservation of one idle slot.
//
// Core is the deterministic state of one partition: it is told the time and
// what has happened, and answers with Actions for its shell to carry out. It does
// no I/O and starts nothing. Service is that shell in a process.
//
// # Which slot
//
// Work is concentrated, so that whole slots and whole workers fall out of use
// and can be reclaimed: first the worker with the most slots of the version,
// and there the slot that was used last.
//
// # Waiting
//
// A request that finds no idle slot joins its version's queue and takes
// whichever comes first, a slot that has started or one that falls idle. New
// starts are asked for only while fewer are under way than requests wait; a
// request that gives up leaves its start to the others.
//
// # Truth
//
// The manager's view is a hint, the worker is the arbiter. A reservation names
// slot, sequence and epoch, and a worker takes it only for the next sequence of
// an idle slot. Reports that are late or repeated are recognized by their
// sequence, and lost ones are made good by asking the workers regularly.
package workermanager

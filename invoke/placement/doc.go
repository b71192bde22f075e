// Package placement is the placement service: it chooses the worker for a new
// slot, leases the slot to a worker manager for hours, and watches the workers'
// health.
//
// Core is the deterministic state: it is told the time and what has happened
// and decides; its only chance is a seeded generator. Service is its shell in a
// process.
//
// # The choice
//
// What a worker has must suffice, in every resource. Among a few workers drawn
// at random, and those that have slots of the function already, the best is the
// one whose load stays most even over its resources and least correlated: all
// slots of one function, and all of one account, count as one workload, which may
// grow to a share of a worker before it is better off elsewhere. Below that share
// a function stays on the workers it has.
package placement

// Package lambda is Kiln's domain: functions, versions, their configuration
// and limits, names and ARNs, and the coded errors that every service speaks.
//
// It performs no I/O, starts no goroutines and imports nothing else of Kiln's,
// so every other package may depend on it.
package lambda

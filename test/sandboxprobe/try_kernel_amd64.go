package main

import "golang.org/x/sys/unix"

// Attempts at what only this architecture has.
func init() {
	attempts["iopl"] = raw(unix.SYS_IOPL, n(3))
	attempts["ioperm"] = raw(unix.SYS_IOPERM, n(0x80), n(1), n(1))
	attempts["modify-ldt"] = raw(unix.SYS_MODIFY_LDT, n(1), words(0, 0), n(16))
	// The same numbers mean other calls in the x32 ABI.
	attempts["x32-call"] = raw(0x40000000 + unix.SYS_GETPID)
}

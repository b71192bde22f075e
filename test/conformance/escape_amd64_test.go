package conformance

// archAttempts are those that only this architecture has; archReal are those of
// them that work without a sandbox.
var archAttempts = []attempt{
	forbid("x32-call", "makes a call of the x32 ABI"),
	forbid("iopl", "asks for access to I/O ports"),
	forbid("ioperm", "asks for access to one I/O port"),
	forbid("modify-ldt", "changes the local descriptor table"),
}

const archReal = "iopl ioperm modify-ldt"

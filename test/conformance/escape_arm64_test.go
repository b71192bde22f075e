package conformance

// This architecture has no attempts of its own.
var archAttempts []attempt

const archReal = ""

package lambda

import "time"

// The quotas of AWS Lambda ("Lambda quotas" in its developer guide) that Kiln
// enforces. Sizes are in bytes unless the name says otherwise.
const (
	DefaultAccountConcurrency = 1000
	// MinUnreservedConcurrency is what reserved concurrency must leave to an account.
	MinUnreservedConcurrency = 100

	DefaultMemoryMB = 128
	MinMemoryMB     = 128
	MaxMemoryMB     = 10240
	// MemoryMBPerCPU is the memory at which a function has one full vCPU.
	MemoryMBPerCPU = 1769

	DefaultTimeout = 3 * time.Second
	MaxTimeout     = 900 * time.Second

	DefaultEphemeralStorageMB = 512
	MaxEphemeralStorageMB     = 10240

	MaxEnvironmentBytes = 4096

	MaxZipBytes             = 50 << 20
	MaxUnzippedBytes        = 250 << 20
	MaxCodeStorageBytes     = 75 << 30
	MaxControlRequestBytes  = 70 << 20 // base64 of MaxZipBytes and the rest of the request
	MaxSyncRequestBytes     = 6 << 20
	MaxSyncResponseBytes    = 6 << 20
	MaxAsyncRequestBytes    = 1 << 20
	MaxClientContextBytes   = 3583
	MaxLogTailBytes         = 4 << 10
	MaxFileDescriptors      = 1024
	MaxProcesses            = 1024
	MaxInitDuration         = 10 * time.Second
	ExtendedMaxInitDuration = 130 * time.Second // provisioned concurrency and SnapStart

	// RampEnvironments per RampPeriod is how fast one function may grow.
	RampEnvironments = 1000
	RampPeriod       = 10 * time.Second
)

// CPUMillis returns the CPU share of a function in thousandths of a core:
// 1,769 MB are one vCPU.
func CPUMillis(memoryMB int) int {
	return max(memoryMB*1000/MemoryMBPerCPU, 1)
}

package gvisor

import (
	"fmt"
	"os"

	"gvisor.dev/gvisor/runsc/cli"
	"gvisor.dev/gvisor/runsc/cmd"
	"gvisor.dev/gvisor/runsc/cmd/sentry/sentrycmd"
	"gvisor.dev/gvisor/runsc/cmd/util"
)

// The names under which this executable starts itself as a part of a sandbox.
const (
	sentryName = "runsc-sandbox"
	goferName  = "runsc-gofer"
	// selfExe is the name that gVisor gives the helper that it starts itself.
	selfExe = "/proc/self/exe"
)

// MaybeRun must be the first call of main, and of TestMain where Config.Exe is
// left empty. In a process that was started as a part of a sandbox (the guest
// kernel, its file server, their helper) it does that part's work and does not
// return; in any other it returns at once.
//
// The executable must be built without cgo: the guest kernel's system call
// filter is too tight for a C library.
func MaybeRun() {
	switch {
	case len(os.Args) == 0:
		return
	case os.Args[0] == sentryName, os.Args[0] == goferName:
		adoptFilters()
		if os.Args[0] == sentryName {
			if err := refuseListeners(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
	case os.Args[0] == selfExe && len(os.Args) > 1 && os.Args[1] == "umount":
	default:
		return
	}
	// Only what a sandbox is made of: gVisor's own main, with its other commands,
	// would make the executable 50 MB larger.
	cli.Run(nil, map[util.SubCommand]string{
		new(sentrycmd.Boot): "", new(cmd.Gofer): "", new(sentrycmd.Umount): "",
	}, nil)
	panic("unreachable: Run exits")
}

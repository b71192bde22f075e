// Guest is an executable that does nothing but host the parts of gVisor
// sandboxes, see gvisor.Config.Exe. Each part that a larger executable hosts
// initializes everything else that is linked into it.
package main

import "kiln/sandbox/gvisor"

func main() { gvisor.MaybeRun() }

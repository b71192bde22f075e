// Host is an executable that does nothing but host the parts of sandboxes.
package main

import "kiln/sandbox/gvisor"

func main() { gvisor.MaybeRun() }

// Command sandboxprobe is a program for the inside of sandboxes: it looks
// around, tries what it should not be able to do, uses up resources, and prints
// what it found as one line of JSON for each probe.
//
// Arguments are probes, run in order: "name" or "name=argument". It is linked
// statically and needs nothing of the root file system.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
)

// Result is a line of output.
type Result struct {
	Probe string `json:"probe"`
	Value any    `json:"value,omitempty"`
	Error string `json:"error,omitempty"`
}

// probe does one thing with its argument and says what came of it.
type probe func(arg string) (any, error)

// probes are all there are. Those of look.go only look, those of try.go try
// what must fail, those of use.go consume, those of end.go end the process or wait.
var probes = map[string]probe{
	"identity": identity, "limits": limits, "environment": environment, "processes": processes,
	"mounts": mounts, "descriptors": descriptors, "network": network, "list": list, "read": read, "hostfiles": hostFiles,
	"write": write, "escape": escape, "open": open, "dial": dial, "sockets": sockets,
	"memory": memory, "fork": forkChildren, "forkbomb": forkBomb, "files": files, "spin": spin, "shm": sharedMemory,
	"exit": exit, "signal": signalSelf, "sleep": sleep, "orphan": orphan, "zombies": zombies, "echo": echo, "stderr": printErr,
}

func main() {
	out := json.NewEncoder(os.Stdout)
	for _, arg := range os.Args[1:] {
		name, argument, _ := strings.Cut(arg, "=")
		p, ok := probes[name]
		if !ok {
			names := []string{}
			for name := range probes {
				names = append(names, name)
			}
			slices.Sort(names)
			fmt.Fprintf(os.Stderr, "no probe %q; there are %s\n", name, strings.Join(names, ", "))
			os.Exit(64)
		}
		value, err := p(argument)
		result := Result{Probe: arg, Value: value}
		if err != nil {
			result.Error = err.Error()
		}
		if err := out.Encode(result); err != nil {
			os.Exit(74)
		}
	}
}

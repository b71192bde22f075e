// Command kiln is all of Kiln in one binary: the service, and the commands with
// which people use it. It is the only place that knows every service and wires
// them together.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/alecthomas/kong"
	kongcompletion "github.com/jotaen/kong-completion"

	"kiln/sandbox/gvisor"
)

// version is set when the binary is built.
var version = "unknown"

// defaultData is where Kiln keeps its state unless told otherwise.
const defaultData = "/var/lib/kiln"

type commandLine struct {
	Up         upCommand                 `cmd:"" help:"Run Kiln on this machine: everything in one process."`
	Deploy     deployCommand             `cmd:"" help:"Create or update a function from a directory."`
	Invoke     invokeCommand             `cmd:"" help:"Invoke a function and print its response."`
	Functions  functionsCommand          `cmd:"" help:"List the functions."`
	Logs       logsCommand               `cmd:"" help:"Print a function's log."`
	Runtime    runtimeCommand            `cmd:"" help:"List, build or pull the managed runtimes."`
	Doctor     doctorCommand             `cmd:"" help:"Say what this machine offers and what it lacks."`
	Completion kongcompletion.Completion `cmd:"" help:"Say how your shell completes kiln's commands; -c SHELL prints the code for it."`
	Version    versionCommand            `cmd:"" help:"Print the version."`

	PrintVersion kong.VersionFlag `name:"version" help:"Print the version."`
}

func main() {
	// gVisor runs as this executable under another name: this does not return
	// when it is one.
	gvisor.MaybeRun()

	var line commandLine
	parser := kong.Must(&line,
		kong.Name("kiln"),
		kong.Description("An open AWS Lambda that runs on your own machines."),
		kong.ShortUsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Vars{"data": defaultData, "version": "kiln " + version},
	)
	kongcompletion.Register(parser)
	ctx, err := parser.Parse(os.Args[1:])
	parser.FatalIfErrorf(err)
	if err := ctx.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "kiln:", err)
		var coded exitCode
		if errors.As(err, &coded) {
			os.Exit(coded.code)
		}
		os.Exit(1)
	}
}

// exitCode is an error with the status that the command exits with.
type exitCode struct {
	error
	code int
}

type versionCommand struct{}

func (versionCommand) Run() error {
	fmt.Println("kiln", version)
	return nil
}

package images

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"kiln/lambda"
	"kiln/runtime/bootstrap"
)

const (
	taskRoot     = "/var/task"
	nodeProgram  = "/var/lang/bin/node"
	baseHostname = "127.0.0.1 localhost\n::1 localhost\n"
)

// ProvidedBootstraps are the places where functions of the provided.* runtimes
// have their program, in the order in which they are looked up.
func ProvidedBootstraps() []string {
	return []string{bootstrap.Dir + "/bootstrap", taskRoot + "/bootstrap", "/opt/bootstrap"}
}

// Entrypoint returns the program of a runtime that Build makes, with its
// arguments. That of provided.* is the function's own; see ProvidedBootstraps
// for where else it may be.
func Entrypoint(r lambda.Runtime) []string {
	switch r.Family() {
	case lambda.FamilyNode:
		return []string{nodeProgram, "--expose-gc", "--max-http-header-size", "81920", bootstrap.Dir + "/index.js"}
	case lambda.FamilyPython:
		return []string{pythonProgram(r), bootstrap.Dir + "/bootstrap.py"}
	default:
		return []string{taskRoot + "/bootstrap"}
	}
}

// Command returns the arguments of a function's process. memoryMB bounds the
// heap of Node.js, which cannot see a sandbox's limit by itself; 0 leaves it
// unbounded. wrapper is the function's AWS_LAMBDA_EXEC_WRAPPER: a program that
// is run instead, with the command as its arguments. As with AWS, the
// provided.* runtimes do not have it.
func (i Image) Command(memoryMB int, wrapper string) []string {
	args := slices.Clone(i.Entrypoint)
	if len(args) > 1 && args[0] == nodeProgram && memoryMB > 0 {
		young := memoryMB / 10
		args = slices.Insert(args, len(args)-1,
			fmt.Sprintf("--max-semi-space-size=%d", max(1, young/2)),
			fmt.Sprintf("--max-old-space-size=%d", memoryMB-young))
	}
	if wrapper != "" && i.Runtime.Family() != lambda.FamilyProvided {
		args = slices.Insert(args, 0, wrapper)
	}
	return args
}

// Environment returns what a runtime's environment has before the function's
// own variables and those that differ by function, as NAME=value with AWS's
// values.
func Environment(r lambda.Runtime) []string {
	env := []string{
		"LANG=en_US.UTF-8",
		"TZ=:UTC",
		"PATH=/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
		"LD_LIBRARY_PATH=/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
		"LAMBDA_TASK_ROOT=" + taskRoot,
		"LAMBDA_RUNTIME_DIR=" + bootstrap.Dir,
	}
	switch r.Family() {
	case lambda.FamilyNode:
		env = append(env, fmt.Sprintf(
			"NODE_PATH=/opt/nodejs/node%s/node_modules:/opt/nodejs/node_modules:/var/runtime/node_modules:/var/runtime:/var/task",
			nodeMajor(r)))
	case lambda.FamilyPython:
		env = append(env, "PYTHONPATH="+bootstrap.Dir)
	}
	// Functions that bring their own runtime say by themselves what they are.
	if r.Family() != lambda.FamilyProvided {
		env = append(env, "AWS_EXECUTION_ENV=AWS_Lambda_"+string(r))
	}
	return env
}

// nodeMajor returns "22" of "nodejs22.x".
func nodeMajor(r lambda.Runtime) string {
	return strings.TrimSuffix(strings.TrimPrefix(string(r), lambda.FamilyNode), ".x")
}

// pythonVersion returns "3.11" of "python3.11".
func pythonVersion(r lambda.Runtime) string {
	return strings.TrimPrefix(string(r), lambda.FamilyPython)
}

func pythonProgram(r lambda.Runtime) string { return "/var/lang/bin/" + string(r) }

// npmArch and mavenArch name the machine's architecture as packages do.
func npmArch() string {
	if runtime.GOARCH == "amd64" {
		return "x64"
	}
	return runtime.GOARCH
}

func mavenArch() string {
	if runtime.GOARCH == "amd64" {
		return "x86_64"
	}
	return runtime.GOARCH
}

package conformance

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The processes of the suite, from the outside to the inside: the one that the
// user started; the first process of the namespaces, which waits for orphans;
// the tests; and processes that own sandboxes and are killed by a test.
const (
	roleFirst = "first"
	roleTest  = "test"
	roleOwner = "owner"
)

// machineName is what the machine is called in the namespaces: a name that is
// easy to find where it should not be.
const machineName = "conformance-machine"

// again is a command that runs this program in another role. It dies with its
// parent's thread.
func again(role string, args ...string) (*exec.Cmd, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd, nil
}

// enclose runs the tests in namespaces of their own and returns their status.
func enclose() int {
	runtime.LockOSThread()
	cmd, err := again(roleFirst, os.Args[1:]...)
	if err == nil {
		cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET |
			unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
		err = cmd.Run()
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		fmt.Fprintln(os.Stderr, "enclose the suite:", err)
		return 1
	}
	return cmd.ProcessState.ExitCode()
}

// firstProcess is the first one of the pid namespace. When it ends, the kernel
// ends all others.
func firstProcess() int {
	runtime.LockOSThread()
	err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	if err == nil {
		err = unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	}
	if err == nil {
		err = unix.Sethostname([]byte(machineName))
	}
	var cmd *exec.Cmd
	if err == nil {
		cmd, err = again(roleTest, os.Args[1:]...)
	}
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "enclose the suite:", err)
		return 1
	}
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		if pid == cmd.Process.Pid {
			if status.Signaled() {
				fmt.Fprintln(os.Stderr, "the tests were ended by", status.Signal())
				return 1
			}
			return status.ExitStatus()
		}
		if err != nil && err != syscall.EINTR {
			fmt.Fprintln(os.Stderr, "wait for the tests:", err)
			return 1
		}
	}
}

// startLoopback gives the namespace what every node has.
func startLoopback() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

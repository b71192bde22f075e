// Probe is what the tests run inside a sandbox: its first argument says what to do.
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	arg := func(i int) string {
		if len(os.Args) > i {
			return os.Args[i]
		}
		return ""
	}
	switch verb := arg(1); verb {
	case "hello":
		fmt.Println("hello")
	case "exit":
		n, _ := strconv.Atoi(arg(2))
		os.Exit(n)
	case "signal":
		n, _ := strconv.Atoi(arg(2))
		syscall.Kill(os.Getpid(), syscall.Signal(n))
		time.Sleep(time.Minute)
	case "facts":
		facts()
	case "try":
		try()
	case "sleep":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ready")
		time.Sleep(time.Hour)
	case "tick":
		for i := 0; ; i++ {
			fmt.Println(i)
			time.Sleep(time.Millisecond)
		}
	case "map": // changes its address space all the time
		for i := 0; ; i++ {
			b, err := syscall.Mmap(-1, 0, 1<<20, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
			if err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
			b[0], b[len(b)-1] = 1, 1
			syscall.Munmap(b)
			fmt.Println(i)
			time.Sleep(time.Millisecond)
		}
	case "memory":
		megabytes, _ := strconv.Atoi(arg(2))
		var keep [][]byte
		for i := range megabytes {
			block := make([]byte, 1<<20)
			for j := 0; j < len(block); j += 4096 {
				block[j] = byte(i + 1)
			}
			keep = append(keep, block)
			fmt.Println(i + 1)
		}
		if arg(3) == "hold" {
			time.Sleep(time.Hour)
		}
		fmt.Println(len(keep), "done")
	case "forks":
		forks()
	case "threads":
		made := 0
		for range 5000 {
			go func() { syscall.Pause() }()
			made++
		}
		fmt.Println(made)
	case "files":
		n := 0
		for {
			f, err := os.Open("/dev/null")
			if err != nil {
				fmt.Println(n, err)
				return
			}
			defer f.Close()
			n++
		}
	case "get":
		client := http.Client{Timeout: 5 * time.Second}
		response, err := client.Get(arg(2))
		if err != nil {
			fmt.Println("error", err)
			return
		}
		body, _ := io.ReadAll(response.Body)
		fmt.Println(string(body))
	case "echo":
		in := bufio.NewScanner(os.Stdin)
		for in.Scan() {
			fmt.Println(in.Text())
		}
		fmt.Println("end of input")
	case "cat":
		data, err := os.ReadFile(arg(2))
		fmt.Println(string(data), err, os.WriteFile(arg(2), nil, 0o644))
	case "spin":
		fmt.Println("ready")
		for {
		}
	case "rtt":
		rtt(arg(2))
	default:
		fmt.Fprintln(os.Stderr, "unknown verb", verb)
		os.Exit(2)
	}
}

func facts() {
	read := func(path string) string {
		data, err := os.ReadFile(path)
		if err != nil {
			return err.Error()
		}
		return strings.ReplaceAll(strings.TrimSpace(string(data)), "\n", "|")
	}
	list := func(path string) string {
		entries, err := os.ReadDir(path)
		if err != nil {
			return err.Error()
		}
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return strings.Join(names, " ")
	}
	dir, _ := os.Getwd()
	host, _ := os.Hostname()
	fmt.Println("uid", os.Getuid(), "gid", os.Getgid())
	fmt.Println("dir", dir)
	fmt.Println("host", host)
	fmt.Println("env", strings.Join(os.Environ(), " "))
	fmt.Println("args", strings.Join(os.Args, " "))
	fmt.Println("version", read("/proc/version"))
	fmt.Println("mounts", read("/proc/mounts"))
	fmt.Println("status", read("/proc/self/status"))
	fmt.Println("meminfo", read("/proc/meminfo"))
	fmt.Println("dev", list("/dev"))
	fmt.Println("root", list("/"))
	fmt.Println("proc", list("/proc"))
	ifaces, _ := net.Interfaces()
	for _, i := range ifaces {
		addrs, _ := i.Addrs()
		fmt.Println("interface", i.Name, addrs)
	}
}

// try does what must not be possible and says what came of it.
func try() {
	say := func(what string, err error) { fmt.Println(what+":", err) }
	say("write root", os.WriteFile("/new", nil, 0o644))
	say("write code", os.WriteFile("/var/task/new", nil, 0o644))
	say("write tmp", os.WriteFile("/tmp/new", []byte("tmp"), 0o644))
	say("write shm", os.WriteFile("/dev/shm/new", []byte("shm"), 0o644))
	say("mknod", syscall.Mknod("/tmp/node", syscall.S_IFCHR|0o666, 1<<8|3))
	say("mount", syscall.Mount("none", "/tmp", "tmpfs", 0, ""))
	say("setuid", syscall.Setuid(0))
	_, err := net.Dial("unix", "/run/host.sock")
	say("host socket", err)
	f, err := os.OpenFile("/dev/stdout", os.O_WRONLY, 0)
	say("open stdout", err)
	f.Close()
	_, err = syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW, 0x300)
	say("packet socket", err)
}

func forks() {
	made := 0
	for range 3000 {
		cmd := exec.Command("/probe", "sleep")
		if err := cmd.Start(); err != nil {
			fmt.Println(made, err)
			return
		}
		made++
	}
	fmt.Println(made, "no limit")
}

// rtt measures small requests and answers over one connection.
func rtt(address string) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		fmt.Println("error", err)
		return
	}
	buffer := make([]byte, 64)
	const rounds = 2000
	for range 200 {
		conn.Write(buffer)
		io.ReadFull(conn, buffer)
	}
	begin := time.Now()
	for range rounds {
		conn.Write(buffer)
		io.ReadFull(conn, buffer)
	}
	fmt.Println("rtt", time.Since(begin)/rounds)
}

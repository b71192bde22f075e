package cgroup

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// real opens the machine's own hierarchy, with controllers.
func real(t *testing.T) *Hierarchy {
	for version, h := range hierarchies(t) {
		if version != "unified" {
			return h
		}
	}
	return nil
}

func TestMemoryLimitKillsAndCounts(t *testing.T) {
	g := create(t, real(t), "oom", Limits{MemoryBytes: 32 << 20})
	if n, err := g.OOMKills(); err != nil || n != 0 {
		t.Fatalf("%d kills before, %v", n, err)
	}
	spawn(t, g, "head -c 100000000 /dev/zero | tail -c 90000000 >/dev/null")
	waitFor(t, "the kernel kills it", func() bool { n, err := g.OOMKills(); return err == nil && n > 0 })
	u, err := g.Usage()
	if err != nil {
		t.Fatal(err)
	}
	if u.MemoryPeakBytes < 30<<20 || u.MemoryPeakBytes > 32<<20 {
		t.Errorf("peak %d, want about the limit of %d", u.MemoryPeakBytes, 32<<20)
	}
	if u.CPU <= 0 {
		t.Errorf("CPU %v", u.CPU)
	}
}

func TestPidsLimit(t *testing.T) {
	g := create(t, real(t), "pids", Limits{Pids: 4})
	file := filepath.Join(t.TempDir(), "out")
	spawn(t, g, "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done 2>"+file+"; wait")
	waitFor(t, "a fork fails", func() bool {
		data, _ := os.ReadFile(file)
		return len(data) > 0
	})
	if pids, err := g.Pids(); err != nil || len(pids) > 4 {
		t.Errorf("%v, %v", pids, err)
	}
}

func TestCPUQuotaIsWritten(t *testing.T) {
	h := real(t)
	g := create(t, h, "cpu", Limits{CPUMillis: 500})
	read := func() string {
		if v, ok := h.driver.(*v1); ok {
			q, _ := os.ReadFile(filepath.Join(v.dir("cpu", "cpu"), "cpu.cfs_quota_us"))
			p, _ := os.ReadFile(filepath.Join(v.dir("cpu", "cpu"), "cpu.cfs_period_us"))
			return strings.TrimSpace(string(q)) + " " + strings.TrimSpace(string(p))
		}
		data, _ := os.ReadFile(h.driver.(*v2).file("cpu", "cpu.max"))
		return strings.TrimSpace(string(data))
	}
	if got := read(); got != "10000 20000" {
		t.Errorf("500 thousandths are %q", got)
	}
	// Below the kernel's least quota the period grows instead.
	if err := g.SetLimits(Limits{CPUMillis: 10}); err != nil {
		t.Fatal(err)
	}
	if got := read(); got != "1000 100000" {
		t.Errorf("10 thousandths are %q", got)
	}
}

func TestMemoryLimitGrowsAndShrinks(t *testing.T) {
	g := create(t, real(t), "grow", Limits{MemoryBytes: 64 << 20})
	for _, bytes := range []int64{128 << 20, 32 << 20} {
		if err := g.SetLimits(Limits{MemoryBytes: bytes}); err != nil {
			t.Errorf("%d: %v", bytes, err)
		}
	}
}

// devicesScript prints which of two devices can be opened. The forbidden one is
// the kernel's log, which root may open otherwise.
const devicesScript = "{ (: </dev/null) && echo null; (: </dev/kmsg) && echo kmsg; mknod $NODE c 1 3 && echo mknod; echo end; } >$OUT 2>/dev/null"

func TestDenyDevices(t *testing.T) {
	for version, h := range hierarchies(t) {
		t.Run(version, func(t *testing.T) {
			for deny, want := range map[bool]string{false: "null\nkmsg\nmknod\nend\n", true: "null\nend\n"} {
				g, err := h.Create("dev", Limits{DenyDevices: deny})
				if err != nil && errors.Is(err, syscall.EPERM) {
					t.Skipf("no device filters here: %v", err)
				}
				if err != nil {
					t.Fatal(err)
				}
				dir := t.TempDir()
				out := filepath.Join(dir, "out")
				script := strings.NewReplacer("$NODE", filepath.Join(dir, "node"), "$OUT", out).Replace(devicesScript)
				spawn(t, g, script)
				waitFor(t, "the script ends", func() bool {
					data, _ := os.ReadFile(out)
					return strings.HasSuffix(string(data), "end\n")
				})
				if data, _ := os.ReadFile(out); string(data) != want {
					t.Errorf("deny %v: %q, want %q", deny, data, want)
				}
				if err := g.Destroy(timeout(t)); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// fakeV2 is a directory laid out as a v2 kernel with all controllers lays it out.
func fakeV2(t *testing.T) *v2 {
	root := t.TempDir()
	populate := func(dir string) error {
		for name, content := range map[string]string{
			"cgroup.procs": "", "cgroup.subtree_control": "", "cgroup.freeze": "0", "cgroup.kill": "",
			"cgroup.events": "populated 0\nfrozen 0\n", "cgroup.controllers": "cpuset cpu io memory pids",
			"memory.max": "max", "memory.swap.max": "max", "memory.current": "7000000\n", "memory.peak": "9000000\n",
			"memory.stat": "anon 1000\nfile 5000000\nshmem 1000000\n", "memory.events": "low 0\noom 3\noom_kill 2\n",
			"cpu.max": "max 100000", "cpu.stat": "usage_usec 1500\nuser_usec 1000\n", "pids.max": "max",
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
				return err
			}
		}
		return nil
	}
	if err := populate(root); err != nil {
		t.Fatal(err)
	}
	v := newV2(root, "kiln/x", v2Controllers)
	v.mkdir = func(dir string) error {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		return populate(dir)
	}
	return v
}

func TestV2Files(t *testing.T) {
	v := fakeV2(t)
	if err := v.prepareParent(); err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(filepath.Join(v.root, "kiln/cgroup.subtree_control")); string(data) != "+pidsry" && string(data) != "+pids" {
		// Plain files keep the tail of a longer write; the kernel's do not.
		t.Errorf("controllers handed down: %q", data)
	}
	h := &Hierarchy{driver: v}
	g, err := h.Create("a", Limits{MemoryBytes: 256 << 20, CPUMillis: 1769, Pids: 1024})
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"memory.max": "268435456", "memory.swap.max": "0", "cpu.max": "35380 20000", "pids.max": "1024",
	} {
		data, err := os.ReadFile(v.file("a", file))
		if err != nil || !strings.HasPrefix(string(data), want) {
			t.Errorf("%s has %q, %v, want %q", file, data, err, want)
		}
	}
	u, err := g.Usage()
	if err != nil || u != (Usage{MemoryBytes: 7000000, MemoryPeakBytes: 9000000, FileBytes: 4000000, CPU: 1500000}) {
		t.Errorf("usage %+v, %v", u, err)
	}
	if n, err := g.OOMKills(); err != nil || n != 2 {
		t.Errorf("%d kills, %v", n, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := g.Freeze(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Freeze of a group that never stops: %v", err)
	}
	if data, _ := os.ReadFile(v.file("a", "cgroup.freeze")); string(data) != "0" {
		t.Errorf("a Freeze that failed left %q", data)
	}
	// Kernels before 5.19 have no memory.peak.
	os.Remove(v.file("a", "memory.peak"))
	if u, err := g.Usage(); err != nil || u.MemoryPeakBytes != 0 {
		t.Errorf("without memory.peak: %+v, %v", u, err)
	}
}

func TestDetect(t *testing.T) {
	full := fakeV2(t).root
	bare := t.TempDir()
	if err := os.WriteFile(filepath.Join(bare, "cgroup.controllers"), []byte("hugetlb\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	v2line := func(dir string) string { return "30 20 0:26 / " + dir + " rw,nosuid - cgroup2 cgroup2 rw\n" }
	v1lines := `31 20 0:27 / /cg/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
32 20 0:28 / /cg/memory rw shared:3 - cgroup cgroup rw,memory
33 20 0:29 / /cg/pids rw - cgroup cgroup rw,pids
34 20 0:30 / /cg/free\040zer rw - cgroup cgroup rw,freezer
35 20 0:31 / /cg/systemd rw - cgroup cgroup rw,name=systemd
`
	devices := "36 20 0:32 / /cg/devices rw - cgroup cgroup rw,devices\n"
	for name, c := range map[string]struct {
		mountinfo string
		want      Version
		err       string
	}{
		"unified":            {mountinfo: v2line(full), want: V2},
		"unified, too bare":  {mountinfo: v2line(bare), err: `"memory"`},
		"hybrid":             {mountinfo: v2line(bare) + v1lines + devices, want: V1},
		"v1":                 {mountinfo: v1lines + devices, want: V1},
		"v1 without devices": {mountinfo: v1lines, err: `"devices"`},
		"none":               {mountinfo: "24 27 0:6 / /dev rw - devtmpfs devtmpfs rw\n", err: "no cgroup"},
	} {
		d, err := detect(c.mountinfo, "kiln")
		switch {
		case c.err != "":
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: error %v, want one about %s", name, err, c.err)
			}
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case d.version() != c.want:
			t.Errorf("%s: version %d", name, d.version())
		}
	}
	d, _ := detect(v1lines+devices, "kiln")
	if got := strings.Join(d.dirs("a"), " "); got != "/cg/memory/kiln/a /cg/cpu,cpuacct/kiln/a /cg/pids/kiln/a /cg/free zer/kiln/a /cg/devices/kiln/a" {
		t.Errorf("directories: %s", got)
	}
}

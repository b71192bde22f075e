package volume

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// memoryGroup makes a control group of 128 MB and returns its directory and the
// file that counts kills for want of memory.
func memoryGroup(t *testing.T) (dir, kills string) {
	t.Helper()
	dir, limit, kills := filepath.Join("/sys/fs/cgroup/memory", fmt.Sprintf("kiln-test-%d", os.Getpid())), "memory.limit_in_bytes", "memory.oom_control"
	if _, err := os.Stat(filepath.Dir(dir)); err != nil {
		dir, limit, kills = filepath.Join("/sys/fs/cgroup", filepath.Base(dir)), "memory.max", "memory.events"
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skipf("no control groups: %v", err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(filepath.Join(dir, limit), []byte("134217728"), 0); err != nil {
		t.Skipf("no memory controller: %v", err)
	}
	return dir, filepath.Join(dir, kills)
}

// TestContentIsNoMemoryForGood writes and reads far more than a group may hold.
func TestContentIsNoMemoryForGood(t *testing.T) {
	p := openPool(t, Config{Ready: -1})
	if mode, why := p.Mode(); mode != Loop {
		t.Skipf("not on this machine: %v", why)
	}
	v := acquire(t, p, 512)
	group, kills := memoryGroup(t)
	script := `echo $$ > "$1/cgroup.procs" && dd if=/dev/zero of="$2/x" bs=1M count=300 && dd if="$2/x" of=/dev/null bs=1M &&
		dd if=/dev/zero of="$2/y" bs=32M count=3 && rm "$2/x" && dd if=/dev/zero of="$2/x" bs=4k count=40000`
	if out, err := exec.Command("sh", "-c", script, "sh", group, v.Path).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	} else {
		t.Logf("%s", out)
	}
	content, err := os.ReadFile(kills)
	if err != nil || !strings.Contains(string(content), "oom_kill 0") {
		t.Errorf("%s, %v", content, err)
	}
}

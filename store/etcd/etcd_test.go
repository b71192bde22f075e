package etcd

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

func start(t *testing.T, dir string) *Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := Start(ctx, Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestRestartKeepsWrites(t *testing.T) {
	dir := t.TempDir()
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	for i := range 3 {
		begin := time.Now()
		s, err := Start(t.Context(), Config{Dir: dir, Logger: logger})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("start %d: ready after %v", i, time.Since(begin))
		got, err := s.Client().Get(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		if want := int64(min(i, 1)); got.Count != want {
			t.Fatalf("start %d: %d keys, want %d", i, got.Count, want)
		}
		if i > 0 && string(got.Kvs[0].Value) != strings.Repeat("x", i) {
			t.Fatalf("start %d: value %q", i, got.Kvs[0].Value)
		}
		begin = time.Now()
		if _, err := s.Client().Put(t.Context(), "k", strings.Repeat("x", i+1)); err != nil {
			t.Fatal(err)
		}
		t.Logf("put: %v", time.Since(begin))
		begin = time.Now()
		s.Close()
		s.Close()
		t.Logf("close: %v", time.Since(begin))
	}
	for line := range strings.Lines(log.String()) {
		// That the machine is slow just now is worth a warning, but no failure.
		if !strings.Contains(line, "too long") && !strings.Contains(line, "slow fdatasync") {
			t.Errorf("a normal life logs: %s", line)
		}
	}
}

func TestDirectoryInUse(t *testing.T) {
	dir := t.TempDir()
	first := start(t, dir)
	if _, err := Start(t.Context(), Config{Dir: dir}); !errors.Is(err, ErrInUse) {
		t.Fatalf("second start: %v, want ErrInUse", err)
	}
	first.Close()
	start(t, dir)
}

func TestLongPath(t *testing.T) {
	// A unix socket's path could not be this long.
	start(t, t.TempDir()+"/"+strings.Repeat("d", 120)+"/"+strings.Repeat("e", 120))
}

func TestListensNowhere(t *testing.T) {
	before := listeners(t)
	start(t, t.TempDir())
	if after := listeners(t); after != before {
		t.Errorf("%d listening sockets, %d before the start", after, before)
	}
}

// listeners counts this process's listening sockets of every kind.
func listeners(t *testing.T) int {
	t.Helper()
	own := map[string]bool{}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc")
	}
	for _, fd := range fds {
		target, _ := os.Readlink("/proc/self/fd/" + fd.Name())
		if inode, ok := strings.CutPrefix(target, "socket:["); ok {
			own[strings.TrimSuffix(inode, "]")] = true
		}
	}
	// tables name the column of the socket's state, its value for listening, and
	// the column of the inode.
	tables := []struct {
		file         string
		state, inode int
		listening    string
	}{
		{"/proc/self/net/tcp", 3, 9, "0A"},
		{"/proc/self/net/tcp6", 3, 9, "0A"},
		{"/proc/self/net/unix", 3, 6, "00010000"},
	}
	n := 0
	for _, table := range tables {
		text, err := os.ReadFile(table.file)
		if err != nil {
			continue
		}
		for _, line := range strings.Split(string(text), "\n") {
			f := strings.Fields(line)
			if len(f) > max(table.state, table.inode) && f[table.state] == table.listening && own[f[table.inode]] {
				n++
			}
		}
	}
	return n
}

func TestWatchAndLeaseInProcess(t *testing.T) {
	s := start(t, t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	watch := s.Client().Watch(ctx, "w/", clientv3.WithPrefix())
	lease, err := s.Client().Grant(ctx, 60)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Client().Put(ctx, "w/1", "v", clientv3.WithLease(lease.ID)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Client().Revoke(ctx, lease.ID); err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for len(kinds) < 2 {
		r, ok := <-watch
		if !ok || r.Err() != nil {
			t.Fatalf("watch ended: %v", r.Err())
		}
		for _, e := range r.Events {
			kinds = append(kinds, e.Type.String())
		}
	}
	if kinds[0] != "PUT" || kinds[1] != "DELETE" {
		t.Errorf("events %v, want PUT and DELETE", kinds)
	}
}

func TestCallsFailAfterClose(t *testing.T) {
	s := start(t, t.TempDir())
	watch := s.Client().Watch(t.Context(), "k")
	s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := s.Client().Put(ctx, "k", "v"); err == nil {
		t.Error("a put succeeded after Close")
	}
	for {
		select {
		case _, ok := <-watch:
			if !ok {
				return
			}
		case <-ctx.Done():
			t.Fatal("the watch did not end with the server")
		}
	}
}

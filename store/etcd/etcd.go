// Package etcd runs an etcd member inside the process: the store of everything
// that must be consistent (functions, leases, membership, elections).
//
// One machine needs no network for it: the member listens nowhere, and the
// client calls it directly. Users of the package see only a clientv3.Client, so
// a client of an existing cluster can take its place.
package etcd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"
)

// ErrInUse is returned by Start while another process has the directory open.
var ErrInUse = errors.New("the directory is in use by another process")

const (
	// defaultQuota bounds the database file; beyond it etcd takes no more writes.
	defaultQuota = 4 << 30
	// retention is how long old revisions can be watched from. Watchers that come
	// back later reload.
	retention = "5m"
	// defragThreshold is the free space in the database file, in megabytes, from
	// which a start rewrites it.
	defragThreshold = 256
	// One member has nobody to wait for: short ticks make it its own leader at once.
	tickMillis     = 10
	electionMillis = 100
	// peerURL names the member in its cluster of one. Nothing listens there.
	peerURL = "http://127.0.0.1:2380"
)

// Config says where a member keeps its state.
type Config struct {
	// Dir is the member's own directory; it is created when missing.
	Dir string
	// Logger receives etcd's warnings and errors; nil drops them.
	Logger *slog.Logger
	// QuotaBytes bounds the size of the database; 0 means 4 GiB.
	QuotaBytes int64
}

// Server is a running member. Its methods are safe for concurrent use.
type Server struct {
	etcd   *embed.Etcd
	client *clientv3.Client
	lock   *os.File
	close  sync.Once
}

// Start opens or creates the member in cfg.Dir and returns once it serves reads
// and writes. A write that the client has seen acknowledged is on disk. Start
// fails with ErrInUse while another process has the directory.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Dir == "" {
		return nil, errors.New("etcd: no directory given")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	s := &Server{lock: lock}
	if s.etcd, err = embed.StartEtcd(memberConfig(cfg)); err != nil {
		lock.Close()
		return nil, fmt.Errorf("etcd: start in %s: %w", cfg.Dir, err)
	}
	select {
	case <-s.etcd.Server.ReadyNotify():
	case <-s.etcd.Server.StopNotify():
		s.Close()
		return nil, fmt.Errorf("etcd: the member in %s stopped while starting", cfg.Dir)
	case <-ctx.Done():
		s.Close()
		return nil, fmt.Errorf("etcd: start in %s: %w", cfg.Dir, ctx.Err())
	}
	s.client = v3client.New(s.etcd.Server)
	return s, nil
}

// memberConfig describes a cluster of one that is reached only from inside.
func memberConfig(cfg Config) *embed.Config {
	c := embed.NewConfig()
	c.Name = "kiln"
	c.Dir = filepath.Join(cfg.Dir, "member")
	c.WalDir = ""
	advertised, err := url.Parse(peerURL)
	if err != nil {
		panic(err) // a constant
	}
	c.ListenPeerUrls, c.ListenClientUrls, c.ListenClientHttpUrls = nil, nil, nil
	c.AdvertisePeerUrls = []url.URL{*advertised}
	c.AdvertiseClientUrls = nil
	c.InitialCluster = c.Name + "=" + peerURL
	c.InitialClusterToken = "kiln"

	c.TickMs, c.ElectionMs = tickMillis, electionMillis
	c.PreVote = true
	c.AutoCompactionMode = embed.CompactorModePeriodic
	c.AutoCompactionRetention = retention
	c.BootstrapDefragThresholdMegabytes = defragThreshold
	c.QuotaBackendBytes = defaultQuota
	if cfg.QuotaBytes > 0 {
		c.QuotaBackendBytes = cfg.QuotaBytes
	}
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.New(newCore(cfg.Logger)))
	return c
}

// lockDir takes the directory for this process. etcd has a lock of its own, but
// waits for it without end and without a word.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("etcd: %s: %w", dir, ErrInUse)
		}
		return nil, fmt.Errorf("etcd: lock %s: %w", dir, err)
	}
	return f, nil
}

// Client returns the client of this member. It belongs to the server: callers
// do not close it. After Close its calls fail.
func (s *Server) Client() *clientv3.Client { return s.client }

// Close stops the member and frees the directory. It is idempotent and returns
// when the member's goroutines have ended.
func (s *Server) Close() {
	s.close.Do(func() {
		if s.client != nil {
			s.client.Close()
		}
		s.etcd.Close()
		s.lock.Close()
	})
}

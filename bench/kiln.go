package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
)

const (
	region = "us-east-1"
	// drainLimit is how long kiln may take to stop.
	drainLimit = 40 * time.Second
)

// server is a running kiln with one back end, in a data directory of its own
// that shares the runtime images.
type server struct {
	endpoint string
	data     string
	pid      int
	api      *lambda.Client
	config   aws.Config
}

// startKiln runs kiln with a back end until ends.
func startKiln(ctx context.Context, o options, isolation, dir string, ends *cleanup) (*server, error) {
	data := filepath.Join(dir, isolation)
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, err
	}
	if err := os.Symlink(o.runtimes, filepath.Join(data, "runtimes")); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	p, err := startProcess(exec.Command(o.kiln, "up", "--data", data, "--listen", address,
		"--isolation", isolation, "--idle-timeout", "1h", "--log-level", "WARN"), dir, syscall.SIGTERM)
	if err != nil {
		return nil, err
	}
	ends.add(func() error { return p.stop(syscall.SIGTERM, drainLimit) })
	s := &server{endpoint: "http://" + address, data: data, pid: p.cmd.Process.Pid}
	if err := s.awaitReady(ctx, p); err != nil {
		return nil, err
	}
	return s, s.connect(ctx)
}

func (s *server) awaitReady(ctx context.Context, p *process) error {
	limit := time.After(startLimit)
	for {
		resp, err := http.Get(s.endpoint + "/healthz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-p.exited:
			return fmt.Errorf("kiln ended: %s", p.lastOutput())
		case <-limit:
			return fmt.Errorf("kiln is not ready after %s: %s", startLimit, p.lastOutput())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *server) connect(ctx context.Context) (err error) {
	s.config, err = config.LoadDefaultConfig(ctx,
		config.WithBaseEndpoint(s.endpoint),
		config.WithSharedConfigFiles(nil),
		config.WithSharedCredentialsFiles([]string{filepath.Join(s.data, "credentials")}),
		config.WithSharedConfigProfile("default"),
		config.WithRegion(region),
	)
	if err != nil {
		return err
	}
	s.api = lambda.NewFromConfig(s.config)
	return nil
}

// settle waits until the function is active and no update is under way.
func (s *server) settle(ctx context.Context, name string, limit time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errors.New("the function did not become active in time"))
	defer cancel()
	for {
		f, err := s.api.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &name})
		switch {
		case err != nil:
			return err
		case f.State == "Failed", f.LastUpdateStatus == "Failed":
			return fmt.Errorf("%s failed: %s %s", name, aws.ToString(f.StateReason), aws.ToString(f.LastUpdateStatusReason))
		case f.State != "Pending" && f.LastUpdateStatus != "InProgress":
			return nil
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return context.Cause(ctx)
		}
	}
}

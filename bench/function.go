package main

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

const (
	// createLimit bounds how long a function takes to become active: the first
	// of a runtime may have its image built.
	createLimit = 5 * time.Minute
	updateLimit = 30 * time.Second
	// restAfterUpdate leaves kiln time to take down the environment before, so
	// that this is not measured with the start of the next.
	restAfterUpdate = 300 * time.Millisecond
)

// function is a candidate: a function on a kiln, invoked through the public
// API by signed requests, one at a time.
type function struct {
	server     *server
	name       string
	caller     *caller
	generation int
	// signing sums up what signatures took, and signed counts them.
	signing time.Duration
	signed  int
}

func newFunction(ctx context.Context, s *server, l *language, k kind) (*function, error) {
	f := &function{server: s, name: l.name + "-" + strconv.Itoa(k.memoryMB)}
	code, err := l.zip()
	if err != nil {
		return nil, err
	}
	_, err = s.api.CreateFunction(ctx, &lambda.CreateFunctionInput{
		FunctionName: &f.name,
		Runtime:      types.Runtime(l.runtime),
		Handler:      &l.handler,
		Role:         aws.String("arn:aws:iam::000000000000:role/bench"),
		Code:         &types.FunctionCode{ZipFile: code},
		MemorySize:   aws.Int32(int32(k.memoryMB)),
		Timeout:      aws.Int32(30),
	})
	if err != nil {
		return nil, err
	}
	if err := s.settle(ctx, f.name, createLimit); err != nil {
		return nil, err
	}
	f.caller = newCaller(s.endpoint + "/2015-03-31/functions/" + f.name + "/invocations")
	credentials, err := s.config.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(event))
	hash, signer := hex.EncodeToString(sum[:]), v4.NewSigner()
	f.caller.sign = func(ctx context.Context, r *http.Request) error {
		begun := time.Now()
		err := signer.SignHTTP(ctx, credentials, r, hash, "lambda", region, begun)
		f.signing += time.Since(begun)
		f.signed++
		return err
	}
	return f, nil
}

// zip packs the function's code.
func (l *language) zip() ([]byte, error) {
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	for _, name := range l.code {
		b, err := os.ReadFile(filepath.Join(l.dir, name))
		if err != nil {
			return nil, err
		}
		header := &zip.FileHeader{Name: name, Method: zip.Deflate}
		header.SetMode(0o755)
		w, err := z.CreateHeader(header)
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(b); err != nil {
			return nil, err
		}
	}
	err := z.Close()
	return buf.Bytes(), err
}

func (f *function) invoke(ctx context.Context) (time.Duration, error) {
	r, err := f.caller.post(ctx)
	return r.took, err
}

// meanSigning is what the client's signature of one request takes, which is
// outside of all times.
func (f *function) meanSigning() time.Duration {
	return f.signing / time.Duration(max(f.signed, 1))
}

// coldStart changes the configuration, which ends the environment, and invokes.
func (f *function) coldStart(ctx context.Context) (coldStart, error) {
	before, known := f.server.cpu()
	f.generation++
	_, err := f.server.api.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{
		FunctionName: &f.name,
		Environment:  &types.Environment{Variables: map[string]string{"GENERATION": strconv.Itoa(f.generation)}},
	})
	if err != nil {
		return coldStart{}, err
	}
	if err := f.server.settle(ctx, f.name, updateLimit); err != nil {
		return coldStart{}, err
	}
	if err := sleep(ctx, restAfterUpdate); err != nil {
		return coldStart{}, err
	}
	f.caller.header.Set("X-Amz-Log-Type", "Tail")
	defer f.caller.header.Del("X-Amz-Log-Type")
	r, err := f.caller.post(ctx)
	if err != nil {
		return coldStart{}, err
	}
	c, err := parseReport(r.header.Get("X-Amz-Log-Result"))
	c.total = r.took
	if after, ok := f.server.cpu(); known && ok {
		c.cpu = after - before
	}
	return c, err
}

var (
	initDuration    = regexp.MustCompile(`\tInit Duration: ([\d.]+) ms`)
	handlerDuration = regexp.MustCompile(`\tDuration: ([\d.]+) ms`)
)

// parseReport reads the REPORT line at the end of an invocation's log.
func parseReport(tail string) (c coldStart, err error) {
	text, err := base64.StdEncoding.DecodeString(tail)
	if err != nil {
		return c, fmt.Errorf("log tail: %w", err)
	}
	for pattern, into := range map[*regexp.Regexp]*time.Duration{initDuration: &c.init, handlerDuration: &c.handler} {
		m := pattern.FindSubmatch(text)
		if m == nil {
			return c, fmt.Errorf("no %q in the log, so this was no cold start: %s", pattern, text)
		}
		ms, err := strconv.ParseFloat(string(m[1]), 64)
		if err != nil {
			return c, err
		}
		*into = time.Duration(ms * float64(time.Millisecond))
	}
	return c, nil
}

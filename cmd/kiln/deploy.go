package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// manifestName is the file of a directory that says how it is deployed.
const manifestName = "kiln.json"

// defaultRole is given to functions whose manifest names none.
const defaultRole = "arn:aws:iam::000000000000:role/kiln-function"

// manifest describes a function in the words of CreateFunction, and how its
// code is made.
type manifest struct {
	FunctionName  string
	Description   string `json:",omitempty"`
	Runtime       string
	Handler       string
	Role          string   `json:",omitempty"`
	MemorySize    int32    `json:",omitempty"`
	Timeout       int32    `json:",omitempty"`
	Architectures []string `json:",omitempty"`
	Environment   struct {
		Variables map[string]string `json:",omitempty"`
	}
	LoggingConfig struct {
		LogFormat types.LogFormat `json:",omitempty"`
	}
	// Build is a shell command that is run in the directory first.
	Build string `json:",omitempty"`
	// CodeUri is the folder to pack, "." by default.
	CodeUri string `json:",omitempty"` //nolint:revive // the name that SAM has for it
}

type deployCommand struct {
	client
	Dir  string `arg:"" help:"The directory: the code and a kiln.json." type:"existingdir" default:"."`
	Name string `help:"Deploy under this name instead of the manifest's."`
}

func (c *deployCommand) Run() error {
	ctx := context.Background()
	if c.Dir == "" {
		c.Dir = "."
	}
	m, err := readManifest(c.Dir)
	if err != nil {
		return err
	}
	if c.Name != "" {
		m.FunctionName = c.Name
	}
	if m.Build != "" {
		fmt.Fprintln(os.Stderr, "Building:", m.Build)
		build := exec.CommandContext(ctx, "/bin/sh", "-c", m.Build)
		build.Dir, build.Stdout, build.Stderr = c.Dir, os.Stderr, os.Stderr
		if err := build.Run(); err != nil {
			return fmt.Errorf("the build failed: %w", err)
		}
	}
	code, err := pack(filepath.Join(c.Dir, m.CodeUri))
	if err != nil {
		return err
	}
	api, err := c.lambda(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "Deploying %s (%s, %.1f KB)\n", m.FunctionName, m.Runtime, float64(len(code))/1024)
	d := deployment{api: api, m: m, code: code}
	arn, err := d.apply(ctx)
	if err != nil {
		return explain(err)
	}
	fmt.Println(arn)
	return nil
}

func readManifest(dir string) (manifest, error) {
	path := filepath.Join(dir, manifestName)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return manifest{}, fmt.Errorf(`%s has no %s: write one such as {"FunctionName": "hello", "Runtime": "nodejs22.x", "Handler": "index.handler"}`, dir, manifestName)
	}
	if err != nil {
		return manifest{}, err
	}
	m := manifest{Role: defaultRole}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return m, fmt.Errorf("%s: %w", path, err)
	}
	if m.Runtime == "" {
		return m, fmt.Errorf("%s names no Runtime, such as nodejs22.x, python3.11 or provided.al2023", path)
	}
	if m.FunctionName == "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return m, err
		}
		m.FunctionName = filepath.Base(abs)
	}
	return m, nil
}

// pack zips a directory, with file modes and relative links, without the
// manifest and version control.
func pack(dir string) ([]byte, error) {
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir() && d.Name() == ".git":
			return filepath.SkipDir
		case d.IsDir(), name == manifestName:
			return nil
		}
		return packFile(z, path, filepath.ToSlash(name), d)
	})
	if err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

func packFile(z *zip.Writer, path, name string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	header, err := zip.FileInfoHeader(info)
	if err != nil {
		return err
	}
	header.Name, header.Method = name, zip.Deflate
	header.Modified = time.Time{} // the same files make the same package
	w, err := z.CreateHeader(header)
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		target, err := os.Readlink(path)
		if err != nil {
			return err
		}
		_, err = io.WriteString(w, target)
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

// deployment is one function on its way to being active.
type deployment struct {
	api  *lambda.Client
	m    manifest
	code []byte
}

// maxWait is how long a function may take to become active; the first of a
// runtime has the runtime built.
const maxWait = 10 * time.Minute

func (d deployment) apply(ctx context.Context) (string, error) {
	_, err := d.api.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &d.m.FunctionName})
	var missing *types.ResourceNotFoundException
	switch {
	case errors.As(err, &missing):
		return d.create(ctx)
	case err != nil:
		return "", err
	}
	return d.update(ctx)
}

func (d deployment) create(ctx context.Context) (string, error) {
	in := &lambda.CreateFunctionInput{
		FunctionName:  &d.m.FunctionName,
		Runtime:       types.Runtime(d.m.Runtime),
		Handler:       &d.m.Handler,
		Role:          &d.m.Role,
		Code:          &types.FunctionCode{ZipFile: d.code},
		Environment:   d.environment(),
		LoggingConfig: d.logging(),
		MemorySize:    optional(d.m.MemorySize),
		Timeout:       optional(d.m.Timeout),
	}
	if d.m.Description != "" {
		in.Description = &d.m.Description
	}
	for _, a := range d.m.Architectures {
		in.Architectures = append(in.Architectures, types.Architecture(a))
	}
	out, err := d.api.CreateFunction(ctx, in)
	if err != nil {
		return "", err
	}
	return aws.ToString(out.FunctionArn), d.settle(ctx)
}

func (d deployment) update(ctx context.Context) (string, error) {
	if err := d.settle(ctx); err != nil { // an earlier update may be under way
		return "", err
	}
	out, err := d.api.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{FunctionName: &d.m.FunctionName, ZipFile: d.code})
	if err != nil {
		return "", err
	}
	if err := d.settle(ctx); err != nil {
		return "", err
	}
	_, err = d.api.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{
		FunctionName:  &d.m.FunctionName,
		Runtime:       types.Runtime(d.m.Runtime),
		Handler:       &d.m.Handler,
		Role:          &d.m.Role,
		Description:   &d.m.Description,
		Environment:   d.environment(),
		LoggingConfig: d.logging(),
		MemorySize:    optional(d.m.MemorySize),
		Timeout:       optional(d.m.Timeout),
	})
	if err != nil {
		return "", err
	}
	return aws.ToString(out.FunctionArn), d.settle(ctx)
}

// settle waits until the function is active and no update is under way.
func (d deployment) settle(ctx context.Context) error {
	begun, told := time.Now(), false
	for {
		f, err := d.api.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &d.m.FunctionName})
		switch {
		case err != nil:
			return err
		case f.State == types.StateFailed:
			return fmt.Errorf("the function failed: %s: %s", f.StateReasonCode, aws.ToString(f.StateReason))
		case f.LastUpdateStatus == types.LastUpdateStatusFailed:
			return fmt.Errorf("the update failed: %s: %s", f.LastUpdateStatusReasonCode, aws.ToString(f.LastUpdateStatusReason))
		case f.State != types.StatePending && f.LastUpdateStatus != types.LastUpdateStatusInProgress:
			return nil
		case time.Since(begun) > maxWait:
			return errors.New("the function did not become active in time")
		case !told && time.Since(begun) > time.Second:
			fmt.Fprintln(os.Stderr, "Preparing the code and the runtime (the first function of a runtime takes longer)")
			told = true
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (d deployment) environment() *types.Environment {
	variables := d.m.Environment.Variables
	if variables == nil { // none in the manifest means none in the function
		variables = map[string]string{}
	}
	return &types.Environment{Variables: variables}
}

func (d deployment) logging() *types.LoggingConfig {
	if d.m.LoggingConfig.LogFormat == "" {
		return nil
	}
	return &types.LoggingConfig{LogFormat: d.m.LoggingConfig.LogFormat}
}

func optional(n int32) *int32 {
	if n == 0 {
		return nil
	}
	return &n
}

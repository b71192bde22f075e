package main

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// samVersion is the release of aws-sam-cli whose emulator is measured.
const samVersion = "1.170.0"

// fetchEmulator returns the path of AWS's Runtime Interface Emulator, which
// comes with the Python package aws-sam-cli. It is kept in dir.
func fetchEmulator(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "aws-lambda-rie-"+samVersion)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return path, err
	}
	note("downloading AWS's emulator with aws-sam-cli %s", samVersion)
	pip := exec.CommandContext(ctx, "python3", "-m", "pip", "download", "--quiet", "--no-deps", "--dest", dir, "aws-sam-cli=="+samVersion)
	if out, err := pip.CombinedOutput(); err != nil {
		return "", fmt.Errorf("download aws-sam-cli: %w: %s", err, out)
	}
	wheel, err := zip.OpenReader(filepath.Join(dir, "aws_sam_cli-"+samVersion+"-py3-none-any.whl"))
	if err != nil {
		return "", err
	}
	defer wheel.Close()
	arch := map[string]string{"amd64": "x86_64", "arm64": "arm64"}[runtime.GOARCH]
	in, err := wheel.Open("samcli/local/rapid/aws-lambda-rie-" + arch)
	if err != nil {
		return "", fmt.Errorf("aws-sam-cli %s: %w", samVersion, err)
	}
	defer in.Close()
	program, err := io.ReadAll(in)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(path+".part", program, 0o755); err != nil {
		return "", err
	}
	return path, os.Rename(path+".part", path)
}

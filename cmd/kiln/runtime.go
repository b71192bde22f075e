package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"text/tabwriter"

	"kiln/lambda"
	"kiln/runtime/images"
)

// runtimeCommand manages the managed runtimes of a data directory. It works on
// the directory itself, with or without a running Kiln.
type runtimeCommand struct {
	List  runtimeListCommand  `cmd:"" default:"1" help:"List the runtimes and whether their images are there."`
	Build runtimeBuildCommand `cmd:"" help:"Build a runtime's image from Debian, npm and PyPI packages."`
	Pull  runtimePullCommand  `cmd:"" help:"Make a runtime's image from an OCI image, such as AWS's own base image."`
}

type runtimeStore struct {
	Data string `help:"The data directory." default:"${data}" env:"KILN_DATA" type:"path"`
}

func (s runtimeStore) open() (*images.Store, error) {
	return images.Open(images.Config{Dir: filepath.Join(s.Data, "runtimes")})
}

type runtimeListCommand struct{ runtimeStore }

func (c *runtimeListCommand) Run() error {
	store, err := c.open()
	if err != nil {
		return err
	}
	list, err := store.List()
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "RUNTIME\tIMAGE\tSIZE\tVERSION\tSOURCE")
	for _, s := range list {
		if !s.Built {
			fmt.Fprintf(w, "%s\tnot built\t\t\t\n", s.Runtime)
			continue
		}
		fmt.Fprintf(w, "%s\t%.12s\t%d MB\t%s\t%s\n", s.Runtime, s.Digest, s.Size>>20, s.Version, s.Source)
	}
	return w.Flush()
}

type runtimeBuildCommand struct {
	runtimeStore
	Runtime []lambda.Runtime `arg:"" help:"The runtimes to build, such as nodejs22.x."`
}

func (c *runtimeBuildCommand) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	store, err := c.open()
	if err != nil {
		return err
	}
	for _, r := range c.Runtime {
		img, err := store.Build(ctx, r, progress(r))
		if err != nil {
			return err
		}
		fmt.Printf("%s: %s, %d MB\n", r, img.Version, img.Size>>20)
	}
	return nil
}

type runtimePullCommand struct {
	runtimeStore
	Runtime   lambda.Runtime `arg:"" help:"The runtime that the image is for."`
	Reference string         `arg:"" help:"The image, as registry/repository:tag."`
}

func (c *runtimePullCommand) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	store, err := c.open()
	if err != nil {
		return err
	}
	img, err := store.Pull(ctx, c.Runtime, c.Reference, progress(c.Runtime))
	if err != nil {
		return err
	}
	fmt.Printf("%s: %s, %d MB\n", c.Runtime, img.Version, img.Size>>20)
	return nil
}

// progress prints the steps of long work.
func progress(r lambda.Runtime) func(string) {
	return func(step string) { fmt.Fprintf(os.Stderr, "%s: %s\n", r, step) }
}

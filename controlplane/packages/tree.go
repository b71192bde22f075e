package packages

import (
	"archive/zip"
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"

	"kiln/lambda"
	"kiln/store/erofs"
)

const (
	maxName   = 255
	maxPath   = 2048
	maxTarget = 4095
	// maxSteps is the path elements that all links of a package may take to follow:
	// each may lead through others, so their number alone bounds nothing.
	maxSteps = 10_000_000
	// maxLinks is the kernel's limit of links that one path may lead through.
	maxLinks = 40
	// epoch is when files without a time were modified: 1980, where the format's
	// own times begin.
	epoch = 315532800

	filePermission      = 0o644
	directoryPermission = 0o755
)

// tree is a package's content, checked but not inflated yet.
type tree struct {
	root  *erofs.Node
	nodes map[string]*erofs.Node // by clean path; the root's is "."
	links []string               // paths of the symbolic links
	size  int64                  // sum of the files' sizes
	max   int                    // limit of len(nodes)
	steps int                    // path elements that links may still take to follow
}

// open reads the archive's directory and the targets of its links.
func (s *Service) open(r io.ReaderAt, size int64) (*tree, error) {
	if size == 0 {
		return nil, lambda.Errorf(lambda.CodeInvalidParameter, "Uploaded file must be a non-empty zip")
	}
	if err := s.checkEntries(r, size); err != nil {
		return nil, err
	}
	archive, err := zip.NewReader(r, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return nil, unusable("")
	}
	if len(archive.File) == 0 {
		return nil, lambda.Errorf(lambda.CodeInvalidParameter, "Uploaded file must be a non-empty zip")
	}
	root := &erofs.Node{Mode: fs.ModeDir | directoryPermission, Modified: epoch}
	t := &tree{root: root, nodes: map[string]*erofs.Node{".": root}, max: s.options.MaxEntries, steps: maxSteps}
	// Sizes come from the archive's directory. That is enough to refuse early, and
	// nothing is trusted: inflating stops where a file grows beyond its size.
	var declared uint64
	for _, f := range archive.File {
		if declared += f.UncompressedSize64; declared > uint64(s.options.MaxUnzippedBytes) || f.UncompressedSize64 > uint64(s.options.MaxUnzippedBytes) {
			return nil, lambda.Errorf(lambda.CodeInvalidParameter,
				"Unzipped size must be smaller than %d bytes", s.options.MaxUnzippedBytes)
		}
	}
	for _, f := range archive.File {
		if err := t.add(f); err != nil {
			return nil, err
		}
	}
	for _, n := range t.nodes {
		t.size += n.Size
	}
	for _, link := range t.links {
		// A later entry may have taken a link's place.
		if n := t.nodes[link]; n.Mode.Type() == fs.ModeSymlink && !t.inside(link) {
			return nil, unusable("(The symbolic link %q leads out of the package.)", link)
		}
	}
	return t, nil
}

// add takes one entry in.
func (t *tree) add(f *zip.File) error {
	name, err := entryName(f)
	if err != nil {
		return err
	}
	if f.Flags&1 != 0 {
		return unusable("(%q is encrypted.)", name)
	}
	mode, err := entryMode(f)
	if err != nil {
		return err
	}
	n := &erofs.Node{Name: path.Base(name), Mode: mode, Modified: max(f.Modified.Unix(), epoch)}
	switch {
	case name == ".":
		if !mode.IsDir() {
			return unusable("(%q is no file name.)", f.Name)
		}
		return nil // the root of a package can always be entered
	case mode.IsDir():
	case mode.Type() == fs.ModeSymlink:
		if n.Target, err = target(f); err != nil {
			return err
		}
		t.links = append(t.links, name)
	default:
		n.Size, n.Open = int64(f.UncompressedSize64), f.Open
	}
	return t.insert(name, n)
}

// insert puts a node at its path, with the directories that the path implies.
func (t *tree) insert(name string, n *erofs.Node) error {
	parent, err := t.directory(path.Dir(name))
	if err != nil {
		return err
	}
	switch old := t.nodes[name]; {
	case old == nil:
		if len(t.nodes) > t.max {
			return t.tooMany()
		}
		t.nodes[name] = n
		parent.Children = append(parent.Children, n)
	case old.Mode.IsDir() != n.Mode.IsDir():
		return unusable("(%q is both a file and a directory.)", name)
	case n.Mode.IsDir():
		old.Mode, old.Modified = n.Mode, n.Modified
	default:
		*old = *n // the last one counts, as when files are unpacked over each other
	}
	return nil
}

// directory returns the directory at a path and creates it where it is missing.
// A link on the way is refused: nothing is ever written through one.
func (t *tree) directory(name string) (*erofs.Node, error) {
	if n := t.nodes[name]; n != nil {
		if !n.Mode.IsDir() {
			return nil, unusable("(%q is both a file and a directory.)", name)
		}
		return n, nil
	}
	n := &erofs.Node{Name: path.Base(name), Mode: fs.ModeDir | directoryPermission, Modified: epoch}
	return n, t.insert(name, n)
}

func (t *tree) tooMany() error {
	return unusable("(A package may hold at most %d files and directories.)", t.max)
}

// verify inflates every file and compares it with its checksum, keeping nothing.
func (t *tree) verify(ctx context.Context) error {
	buffer := make([]byte, 128<<10)
	for name, n := range t.nodes {
		if err := ctx.Err(); err != nil {
			return err
		}
		if n.Open == nil {
			continue
		}
		if err := verify(n, buffer); err != nil {
			return unusable("(%q is damaged.)", name)
		}
	}
	return nil
}

func verify(n *erofs.Node, buffer []byte) error {
	r, err := n.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	// No more than one byte beyond what the entry says it has is ever inflated.
	var size int64
	for size <= n.Size {
		count, err := r.Read(buffer[:min(int64(len(buffer)), n.Size-size+1)])
		size += int64(count)
		if err == io.EOF && size == n.Size {
			return nil
		} else if err != nil {
			return err
		}
	}
	return errors.New("longer than its size")
}

// inside reports whether what a link leads to, through other links too, stays in
// the package. Whether it exists does not matter.
func (t *tree) inside(link string) bool {
	at, rest, links := path.Dir(link), strings.Split(t.nodes[link].Target, "/"), 0
	for len(rest) > 0 {
		if t.steps--; t.steps < 0 {
			return false
		}
		step := rest[0]
		rest = rest[1:]
		switch step {
		case "", ".":
			continue
		case "..":
			if at == "." {
				return false
			}
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, step)
		if n := t.nodes[next]; n != nil && n.Mode.Type() == fs.ModeSymlink {
			if links++; links > maxLinks {
				return true // the kernel gives up too: it leads nowhere
			}
			more := strings.Split(n.Target, "/")
			t.steps -= len(more) + len(rest)
			rest = append(more, rest...)
			continue
		}
		at = next
	}
	return true
}

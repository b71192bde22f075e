package erofs

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/sys/unix"
	reader "gvisor.dev/gvisor/pkg/erofs"
	"pgregory.net/rapid"
)

func file(name string, mode fs.FileMode, content string) *Node {
	return &Node{Name: name, Mode: mode, Modified: 1700000000, Size: int64(len(content)),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }}
}

func link(name, target string) *Node {
	return &Node{Name: name, Mode: fs.ModeSymlink | 0o777, Modified: 1, Target: target}
}

func directory(name string, children ...*Node) *Node {
	return &Node{Name: name, Mode: fs.ModeDir | 0o755, Modified: 1700000001, Children: children}
}

// image writes root to a new file.
func image(t interface {
	Helper()
	Fatal(...any)
}, dir string, root *Node) string {
	t.Helper()
	f, err := os.CreateTemp(dir, "*.erofs")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := Write(f, root)
	if err != nil {
		t.Fatal(err)
	}
	if size%blockSize != 0 {
		t.Fatal("size ", size)
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// describe tells all that a reader should see of a tree, by path.
func describe(root *Node) map[string]string {
	all := map[string]string{}
	var walk func(path string, n *Node)
	walk = func(path string, n *Node) {
		what := ""
		switch n.Mode.Type() {
		case fs.ModeDir:
			for _, child := range n.Children {
				walk(path+"/"+child.Name, child)
			}
		case fs.ModeSymlink:
			what = n.Target
		default:
			if n.Size > 0 {
				r, _ := n.Open()
				content, _ := io.ReadAll(r)
				what = fmt.Sprintf("%d %x", len(content), sha256.Sum256(content))
			}
		}
		all[path] = fmt.Sprintf("%v %d %s", n.Mode, n.Modified, what)
	}
	walk("", root)
	return all
}

// readBack describes an image as another implementation reads it.
func readBack(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	img, err := reader.OpenImage(f)
	if err != nil {
		return nil, err
	}
	defer img.Close()
	all := map[string]string{}
	var walk func(path string, nid uint64) error
	walk = func(path string, nid uint64) error {
		inode, err := img.Inode(nid)
		if err != nil {
			return err
		}
		mode, what := fs.FileMode(inode.Mode()&0o777), ""
		switch {
		case inode.IsDir():
			mode |= fs.ModeDir
			var names []string
			err := inode.IterDirents(func(name string, _ uint8, nid uint64) error {
				names = append(names, name)
				if found, err := inode.Lookup(name); err != nil || found != nid {
					return fmt.Errorf("lookup of %q: %d, %w", name, found, err)
				}
				if name == "." || name == ".." {
					return nil
				}
				return walk(path+"/"+name, nid)
			})
			if err != nil {
				return err
			}
			if !slices.IsSorted(names) || !slices.Contains(names, ".") || !slices.Contains(names, "..") {
				return fmt.Errorf("names of %s: %q", path, names)
			}
		case inode.IsSymlink():
			mode |= fs.ModeSymlink
			if what, err = inode.Readlink(); err != nil {
				return err
			}
		case inode.Size() > 0:
			ranges, err := inode.DataRanges()
			if err != nil {
				return err
			}
			hash, size := sha256.New(), uint64(0)
			for _, r := range ranges {
				if r.Size > 0 {
					b, err := img.BytesAt(r.Off, r.Size)
					if err != nil {
						return err
					}
					hash.Write(b)
					size += r.Size
				}
			}
			what = fmt.Sprintf("%d %x", size, hash.Sum(nil))
		}
		all[path] = fmt.Sprintf("%v %d %s", mode, inode.Mtime(), what)
		return nil
	}
	return all, walk("", img.RootNid())
}

// sample has a file for every case of the layout.
func sample() *Node {
	random := rand.New(rand.NewPCG(1, 2))
	root := directory("")
	for i, size := range []int{0, 1, 4031, 4032, 4033, 4095, 4096, 4097, 8191, 8192, 256 << 10, 256<<10 + 1, 1<<20 + 77} {
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		root.Children = append(root.Children, file(fmt.Sprintf("file%d", i), 0o600|fs.FileMode(i), string(b)))
	}
	big := directory("a directory of several blocks")
	for i := range 1000 {
		big.Children = append(big.Children, file(fmt.Sprintf("%03d%s", i, strings.Repeat("n", i%250)), 0o644, fmt.Sprint(i)))
	}
	deep := directory("deep")
	for range 50 {
		deep = directory("deep", deep, file("-before-dot", 0o755, "x"), file("..after", 0o644, "y"))
	}
	root.Children = append(root.Children, big, deep, directory("empty"), link("link", "file1"),
		link("long", strings.Repeat("t/", 2000)), link("longest", strings.Repeat("t", maxTarget)))
	return root
}

func compare(t *testing.T, got, want map[string]string) {
	t.Helper()
	if maps.Equal(got, want) {
		return
	}
	for path := range want {
		if got[path] != want[path] {
			t.Errorf("%q: %q, want %q", path, got[path], want[path])
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok {
			t.Errorf("%q: %q, not wanted", path, got[path])
		}
	}
}

func TestAnotherReaderSeesTheTree(t *testing.T) {
	root := sample()
	got, err := readBack(image(t, t.TempDir(), root))
	if err != nil {
		t.Fatal(err)
	}
	compare(t, got, describe(root))
}

func TestKernelSeesTheTree(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	root := sample()
	path, dir := image(t, t.TempDir(), root), t.TempDir()
	err := unix.Mount(path, dir, "erofs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, "")
	if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOTBLK) {
		t.Skipf("this kernel mounts no erofs from a file: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, 0)
	got := map[string]string{}
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		what := ""
		switch {
		case info.Mode().Type() == fs.ModeSymlink:
			if what, err = os.Readlink(path); err != nil {
				return err
			}
		case info.Mode().IsRegular() && info.Size() > 0:
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			what = fmt.Sprintf("%d %x", len(content), sha256.Sum256(content))
		}
		got[strings.TrimPrefix(path, dir)] = fmt.Sprintf("%v %d %s", info.Mode(), info.ModTime().Unix(), what)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	compare(t, got, describe(root))
	var stat unix.Stat_t
	if err := unix.Stat(dir, &stat); err != nil || stat.Uid != 0 || stat.Gid != 0 || stat.Nlink != 5 {
		t.Errorf("root: %+v, %v", stat, err)
	}
}

func TestCheckerAccepts(t *testing.T) {
	fsck, err := exec.LookPath("fsck.erofs")
	if err != nil {
		t.Skip("no fsck.erofs")
	}
	if out, err := exec.Command(fsck, "--extract", image(t, t.TempDir(), sample())).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestSameTreeSameBytes(t *testing.T) {
	first, err := os.ReadFile(image(t, t.TempDir(), sample()))
	if err != nil {
		t.Fatal(err)
	}
	shuffled := sample()
	rand.Shuffle(len(shuffled.Children), func(i, j int) {
		shuffled.Children[i], shuffled.Children[j] = shuffled.Children[j], shuffled.Children[i]
	})
	second, err := os.ReadFile(image(t, t.TempDir(), shuffled))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Error("two images of one tree differ")
	}
	// Images are named by what they are made of and Version, so the layout must
	// not change under one Version.
	if got := fmt.Sprintf("%x", sha256.Sum256(first)); got != "845e23bb8264da705a7b2ff7cb9ba3fdab79fd29a73efe31754edc4552ff1333" {
		t.Errorf("the layout has changed: raise Version; digest %s", got)
	}
}

func TestWriteRefuses(t *testing.T) {
	broken := errors.New("broken")
	for name, root := range map[string]*Node{
		"root file":     file("", 0o644, ""),
		"no name":       directory("", file("", 0o644, "")),
		"dot":           directory("", file(".", 0o644, "")),
		"dots":          directory("", directory("..")),
		"slash":         directory("", file("a/b", 0o644, "")),
		"long name":     directory("", file(strings.Repeat("n", 256), 0o644, "")),
		"twice":         directory("", file("a", 0o644, ""), directory("a")),
		"no target":     directory("", link("a", "")),
		"long target":   directory("", link("a", strings.Repeat("t", maxTarget+1))),
		"device":        directory("", &Node{Name: "a", Mode: fs.ModeDevice | 0o600}),
		"pipe":          directory("", &Node{Name: "a", Mode: fs.ModeNamedPipe | 0o600}),
		"before 1970":   directory("", &Node{Name: "a", Modified: -1}),
		"negative size": directory("", &Node{Name: "a", Size: -1}),
		"short": directory("", &Node{Name: "a", Size: 5000,
			Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("x")), nil }}),
		"long": directory("", &Node{Name: "a", Size: 1,
			Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("xy")), nil }}),
		"unreadable": directory("", &Node{Name: "a", Size: 1,
			Open: func() (io.ReadCloser, error) { return nil, broken }}),
		"broken at its end": directory("", &Node{Name: "a", Size: 1, Open: func() (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader("x"), iotest.ErrReader(broken))), nil
		}}),
	} {
		f, err := os.Create(filepath.Join(t.TempDir(), "image"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Write(f, root); err == nil {
			t.Errorf("%s: written", name)
		}
		f.Close()
	}
}

func TestAnyTreeReadsBack(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		name := rapid.StringMatching(`[!-.0-~]{1,40}`).Filter(func(s string) bool { return s != "." && s != ".." })
		var grow func(name string, depth int) *Node
		grow = func(of string, depth int) *Node {
			n := &Node{Name: of, Mode: fs.FileMode(rapid.Uint32Range(0, 0o777).Draw(rt, "mode")), Modified: rapid.Int64Range(0, 1<<40).Draw(rt, "modified")}
			kind := rapid.IntRange(0, 2).Draw(rt, "kind")
			switch {
			case depth == 0 || kind == 0 && depth < 3:
				n.Mode |= fs.ModeDir
				for _, child := range rapid.SliceOfNDistinct(name, 0, 40, rapid.ID).Draw(rt, "children") {
					n.Children = append(n.Children, grow(child, depth+1))
				}
			case kind == 1:
				n.Mode = fs.ModeSymlink | 0o777
				n.Target = rapid.StringMatching(`[a-z/.]{1,100}`).Draw(rt, "target")
			default:
				content := strings.Repeat("k", rapid.IntRange(0, 9000).Draw(rt, "size"))
				n.Size, n.Open = int64(len(content)), func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }
			}
			return n
		}
		root := grow("", 0)
		path := image(rt, dir, root)
		defer os.Remove(path)
		got, err := readBack(path)
		if err != nil {
			rt.Fatal(err)
		}
		if want := describe(root); !maps.Equal(got, want) {
			rt.Fatalf("got %q\nwant %q", got, want)
		}
	})
}

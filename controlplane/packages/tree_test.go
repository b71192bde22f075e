package packages

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kiln/lambda"
	"kiln/store/blob"
	"kiln/store/erofs"
)

// entry is a file of a test's archive; mode is the whole Unix mode, 0 for an
// archive made on a system without.
type entry struct {
	name    string
	mode    uint32
	content string
}

func pack(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		if strings.HasSuffix(e.name, "/") {
			h.Method = zip.Store
		}
		if e.mode != 0 {
			h.CreatorVersion = creatorUnix << 8
			h.ExternalAttrs = e.mode << 16
		}
		f, err := w.CreateHeader(h)
		if err == nil && e.content != "" {
			_, err = io.WriteString(f, e.content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func service(t testing.TB, options Options) *Service {
	t.Helper()
	blobs, err := blob.Open(filepath.Join(t.TempDir(), "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	options.WorkDir = filepath.Join(t.TempDir(), "work")
	s, err := New(blobs, options)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// list describes a tree, one line a node.
func list(t testing.TB, root *erofs.Node) string {
	t.Helper()
	var b strings.Builder
	var walk func(path string, n *erofs.Node)
	walk = func(path string, n *erofs.Node) {
		fmt.Fprintf(&b, "%v %s", n.Mode, path)
		if n.Target != "" {
			fmt.Fprintf(&b, " -> %s", n.Target)
		}
		if n.Open != nil {
			r, err := n.Open()
			if err != nil {
				t.Fatal(err)
			}
			content, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, " %q", content)
		}
		b.WriteString("\n")
		for _, child := range n.Children {
			walk(path+"/"+child.Name, child)
		}
	}
	walk("", root)
	return b.String()
}

func TestTree(t *testing.T) {
	for name, test := range map[string]struct {
		entries []entry
		want    string
	}{
		"modes are kept, special bits dropped": {[]entry{
			{"bootstrap", 0o100755, "b"}, {"setuid", 0o106755, "s"}, {"private", 0o100600, "p"},
			{"none", 0o100000, "n"}, {"typeless", 0o640, "t"}, {"sticky/", 0o041777, ""},
		}, `
drwxr-xr-x 
-rwxr-xr-x /bootstrap "b"
-rwxr-xr-x /setuid "s"
-rw------- /private "p"
-rw-r--r-- /none "n"
-rw-r----- /typeless "t"
drwxrwxrwx /sticky
`},
		"archives without modes": {[]entry{{"a.py", 0, "a"}, {"lib/", 0, ""}, {"lib/b.py", 0, "b"}, {`win\dows\c.py`, 0, "c"}}, `
drwxr-xr-x 
-rw-r--r-- /a.py "a"
drwxr-xr-x /lib
-rw-r--r-- /lib/b.py "b"
drwxr-xr-x /win
drwxr-xr-x /win/dows
-rw-r--r-- /win/dows/c.py "c"
`},
		"directories are implied, and named later": {[]entry{{"./a//b/c", 0o100644, "c"}, {"a/", 0o040700, ""}, {"./", 0o040000, ""}}, `
drwxr-xr-x 
drwx------ /a
drwxr-xr-x /a/b
-rw-r--r-- /a/b/c "c"
`},
		"the last of several counts": {[]entry{{"a", 0o100644, "1"}, {"b", 0o100644, "b"}, {"./a", 0o100755, "2"}}, `
drwxr-xr-x 
-rwxr-xr-x /a "2"
-rw-r--r-- /b "b"
`},
		"links inside": {[]entry{
			{"a", 0o120777, "lib/../lib/x"}, {"lib/up", 0o120777, "../a"}, {"dangling", 0o120777, "no/where/../.."},
			{"loop", 0o120777, "loop"}, {"replaced", 0o120777, "../out"}, {"replaced", 0o100644, "r"},
		}, `
drwxr-xr-x 
Lrwxrwxrwx /a -> lib/../lib/x
drwxr-xr-x /lib
Lrwxrwxrwx /lib/up -> ../a
Lrwxrwxrwx /dangling -> no/where/../..
Lrwxrwxrwx /loop -> loop
-rw-r--r-- /replaced "r"
`},
		"odd names": {[]entry{{"..a", 0o100644, ""}, {"a..", 0o100644, ""}, {"...", 0o100644, ""}, {`back\slash`, 0o100644, ""}, {"ünïcode\n", 0o100644, ""}}, `
drwxr-xr-x 
-rw-r--r-- /..a ""
-rw-r--r-- /a.. ""
-rw-r--r-- /... ""
-rw-r--r-- /back\slash ""
-rw-r--r-- /ünïcode
 ""
`},
	} {
		t.Run(name, func(t *testing.T) {
			archive := pack(t, test.entries...)
			tree, err := service(t, Options{}).open(bytes.NewReader(archive), int64(len(archive)))
			if err != nil {
				t.Fatal(err)
			}
			if got := "\n" + list(t, tree.root); got != test.want {
				t.Errorf("got %s\nwant %s", got, test.want)
			}
		})
	}
}

// replace changes the last occurrence of old, which is in the archive's directory.
func replace(t testing.TB, archive []byte, old, new string) []byte {
	t.Helper()
	at := bytes.LastIndex(archive, []byte(old))
	if at < 0 || len(old) != len(new) {
		t.Fatal("nothing to replace")
	}
	return append(append(bytes.Clone(archive[:at]), new...), archive[at+len(old):]...)
}

func TestIntakeRefuses(t *testing.T) {
	const broken = "Could not unzip uploaded file. Please check your file, then try to upload again."
	file := func(name string) []byte { return pack(t, entry{name, 0o100644, "x"}) }
	link := func(target string, more ...entry) []byte {
		return pack(t, append(more, entry{"link", 0o120777, target})...)
	}
	directory := func(archive []byte, offset int, value uint32) []byte { // of the only entry's header
		changed := bytes.Clone(archive)
		binary.LittleEndian.PutUint32(changed[bytes.LastIndex(changed, centralHeader)+offset:], value)
		return changed
	}
	zeros := pack(t, entry{"zeros", 0o100644, strings.Repeat("\x00", 4000)})
	many := []entry{}
	for i := range 30 {
		many = append(many, entry{fmt.Sprint(i), 0o100644, ""})
	}
	chain := []entry{{"d", 0o120777, "."}}
	for name, test := range map[string]struct {
		archive []byte
		want    string
	}{
		"nothing":           {nil, "Uploaded file must be a non-empty zip"},
		"no entries":        {pack(t), "Uploaded file must be a non-empty zip"},
		"no zip":            {[]byte("this is no zip"), broken},
		"cut":               {file("a")[:40], broken},
		"cut at its end":    {file("a")[:len(file("a"))-3], broken},
		"zipped size":       {pack(t, entry{"a", 0o100644, randomText(20000)}), "Zipped size must be smaller than 10000 bytes"},
		"unzipped size":     {pack(t, entry{"a", 0o100644, strings.Repeat("a", 4000)}, entry{"b", 0o100644, strings.Repeat("b", 1001)}), "Unzipped size must be smaller than 5000 bytes"},
		"more than it says": {directory(zeros, 24, 10), broken + ` ("zeros" is damaged.)`},
		"less than it says": {directory(zeros, 24, 4500), broken + ` ("zeros" is damaged.)`},
		"wrong checksum":    {directory(zeros, 16, 4711), broken + ` ("zeros" is damaged.)`},
		"unknown method":    {directory(zeros, 10, 99), broken + ` ("zeros" is damaged.)`},
		"encrypted":         {directory(zeros, 8, 1|8<<16), broken + ` ("zeros" is encrypted.)`},
		"entries":           {pack(t, many...), broken + " (A package may hold at most 20 files and directories.)"},
		"implied entries":   {file(strings.Repeat("d/", 25) + "x"), broken + " (A package may hold at most 20 files and directories.)"},
		"traversal":         {file("../x"), broken + ` ("../x" leads out of the package.)`},
		"traversal within":  {file("a/../../x"), broken + ` ("a/../../x" leads out of the package.)`},
		"traversal on Windows": {pack(t, entry{`..\x`, 0, "x"}),
			broken + ` ("..\\x" leads out of the package.)`},
		"absolute":     {file("/etc/passwd"), broken + ` ("/etc/passwd" is an absolute path.)`},
		"no name":      {replace(t, file("N"), "N", "\x00"), broken + ` ("\x00" is no file name.)`},
		"dot":          {file("."), broken + ` ("." is no file name.)`},
		"long name":    {file(strings.Repeat("n", 256)), broken + " (A file name is longer than 255 bytes.)"},
		"long path":    {file(strings.Repeat("n/", 1024) + "n"), broken + " (A path is longer than 2048 bytes.)"},
		"device":       {pack(t, entry{"null", 0o020666, ""}), broken + ` ("null" is neither a file, a directory nor a symbolic link.)`},
		"block device": {pack(t, entry{"sda", 0o060666, ""}), broken + ` ("sda" is neither a file, a directory nor a symbolic link.)`},
		"pipe":         {pack(t, entry{"pipe", 0o010666, ""}), broken + ` ("pipe" is neither a file, a directory nor a symbolic link.)`},
		"socket":       {pack(t, entry{"sock", 0o140666, ""}), broken + ` ("sock" is neither a file, a directory nor a symbolic link.)`},
		"file as directory": {pack(t, entry{"a", 0o100644, "x"}, entry{"a/b", 0o100644, "x"}),
			broken + ` ("a" is both a file and a directory.)`},
		"directory as file": {pack(t, entry{"a/b", 0o100644, "x"}, entry{"a", 0o100644, "x"}),
			broken + ` ("a" is both a file and a directory.)`},
		"through a link": {pack(t, entry{"a", 0o120777, "b"}, entry{"a/x", 0o100644, "x"}),
			broken + ` ("a" is both a file and a directory.)`},
		"link out":         {link("../x"), broken + ` (The symbolic link "link" leads out of the package.)`},
		"absolute link":    {link("/etc/passwd"), broken + ` (The symbolic link "link" leads out of the package.)`},
		"link out in turn": {link("d/d/d/../../..", chain...), broken + ` (The symbolic link "link" leads out of the package.)`},
		"link with NUL":    {link("a\x00b"), broken + ` (The symbolic link "link" has no valid target.)`},
		"link to nothing":  {link(""), broken + ` (The symbolic link "link" has a target of 0 bytes.)`},
		"link too long":    {link(strings.Repeat("x", 4096)), broken + ` (The symbolic link "link" has a target of 4096 bytes.)`},
	} {
		t.Run(name, func(t *testing.T) {
			s := service(t, Options{MaxZipBytes: 10000, MaxUnzippedBytes: 5000, MaxEntries: 20})
			_, err := s.Intake(t.Context(), "000000000000", test.archive)
			if lambda.CodeOf(err) != lambda.CodeInvalidParameter {
				t.Fatalf("code %q: %v", lambda.CodeOf(err), err)
			}
			var coded *lambda.Error
			if !errors.As(err, &coded) || coded.Message != test.want {
				t.Errorf("got  %v\nwant %q", err, test.want)
			}
			for info := range s.blobs.List(t.Context(), "") {
				t.Errorf("stored all the same: %s", info.Key)
			}
		})
	}
}

// randomText does not compress below half its size.
func randomText(n int) string {
	b, state := make([]byte, n), uint32(1)
	for i := range b {
		state = state*1664525 + 1013904223
		b[i] = byte(state >> 24)
	}
	return string(b)
}

// TestIntakeBounds takes an archive of exactly the largest sizes, and none of a
// byte or an entry more.
func TestIntakeBounds(t *testing.T) {
	archive := pack(t, entry{"a", 0o100644, strings.Repeat("a", 700)}, entry{"b", 0o100644, strings.Repeat("b", 300)})
	exact := Options{MaxZipBytes: int64(len(archive)), MaxUnzippedBytes: 1000, MaxEntries: 2}
	for name, test := range map[string]struct {
		less func(*Options)
		want lambda.Code
	}{
		"exact":    {func(*Options) {}, ""},
		"zipped":   {func(o *Options) { o.MaxZipBytes-- }, lambda.CodeInvalidParameter},
		"unzipped": {func(o *Options) { o.MaxUnzippedBytes-- }, lambda.CodeInvalidParameter},
		"entries":  {func(o *Options) { o.MaxEntries-- }, lambda.CodeInvalidParameter},
	} {
		options := exact
		test.less(&options)
		_, err := service(t, options).Intake(t.Context(), account, archive)
		if (err == nil) != (test.want == "") || err != nil && lambda.CodeOf(err) != test.want {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

// TestBombStopsEarly inflates entries whose directory says that they are small.
func TestBombStopsEarly(t *testing.T) {
	bomb := pack(t, entry{"bomb", 0o100644, strings.Repeat("\x00", 64<<20)})
	at := bytes.LastIndex(bomb, centralHeader)
	binary.LittleEndian.PutUint32(bomb[at+24:], 100)
	tree, err := service(t, Options{}).open(bytes.NewReader(bomb), int64(len(bomb)))
	if err != nil {
		t.Fatal(err)
	}
	n := tree.nodes["bomb"]
	var read int64
	open := n.Open
	n.Open = func() (io.ReadCloser, error) {
		r, err := open()
		return counter{r, &read}, err
	}
	if err := tree.verify(t.Context()); err == nil {
		t.Error("the bomb is taken")
	}
	if read > 101 {
		t.Errorf("%d bytes were inflated", read)
	}
}

type counter struct {
	io.ReadCloser
	n *int64
}

func (c counter) Read(b []byte) (int, error) {
	n, err := c.ReadCloser.Read(b)
	*c.n += int64(n)
	return n, err
}

// FuzzIntake looks for archives that crash intake, or that intake takes and no
// image can be made of.
func FuzzIntake(f *testing.F) {
	f.Add(pack(f, entry{"a/b", 0o100755, "x"}, entry{"a/c", 0o120777, "../a/b"}, entry{"d/", 0o040755, ""}))
	f.Add(pack(f, entry{`a\b`, 0, "x"}, entry{"a", 0, strings.Repeat("y", 5000)}))
	f.Add([]byte("PK\x05\x06" + strings.Repeat("\x00", 18)))
	s := service(f, Options{MaxUnzippedBytes: 1 << 20, MaxEntries: 1000})
	f.Fuzz(func(t *testing.T, archive []byte) {
		tree, err := s.open(bytes.NewReader(archive), int64(len(archive)))
		if err == nil {
			err = tree.verify(t.Context())
		}
		if err != nil {
			if lambda.CodeOf(err) != lambda.CodeInvalidParameter {
				t.Fatal(err)
			}
			return
		}
		image, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer image.Close()
		if _, err := erofs.Write(image, tree.root); err != nil {
			t.Fatal(err)
		}
		for name, n := range tree.nodes {
			if n.Mode&^(fs.ModePerm|fs.ModeDir|fs.ModeSymlink) != 0 {
				t.Fatalf("%q has mode %v", name, n.Mode)
			}
		}
	})
}

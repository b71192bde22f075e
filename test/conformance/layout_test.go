package conformance

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

const (
	// The user that functions run as here.
	testUID = 993
	testGID = 990
	// secretText is in files of the host's that no sandbox may read.
	secretText = "the host's own"
	// resolvText is the name server configuration that sandboxes are given.
	resolvText = "nameserver 203.0.113.2\n"
)

// layout is what sandboxes are made of: a root file system, code and a layer,
// all as open as files can be, so that nothing but the back end protects them,
// and secrets beside them.
type layout struct {
	root, code, layer string
	secret            string // a file that anyone could read
	resolv            string // mounted as /etc/resolv.conf
}

func newLayout(dir string) (layout, error) {
	l := layout{
		root: filepath.Join(dir, "hostroot"), code: filepath.Join(dir, "hostcode"), layer: filepath.Join(dir, "hostlayer"),
		secret: filepath.Join(dir, "secret"), resolv: filepath.Join(dir, "resolv.conf"),
	}
	errs := []error{os.MkdirAll(l.code, 0o777), os.MkdirAll(l.layer, 0o777)}
	for _, d := range []string{"proc", "dev", "sys", "tmp", "var/task", "opt", "etc", "run", "open"} {
		errs = append(errs, os.MkdirAll(filepath.Join(l.root, d), 0o755))
	}
	program, err := os.ReadFile(probePath)
	errs = append(errs, err)
	for _, f := range []struct {
		path    string
		content string
		mode    os.FileMode
	}{
		{l.root + "/probe", string(program), 0o755},
		{l.root + "/suid", string(program), 0o755 | os.ModeSetuid | os.ModeSetgid},
		{l.root + "/forbidden", string(program), 0o644},
		{l.root + "/text", "no program", 0o755},
		{l.root + "/script", "#!/missing\n", 0o755},
		{l.root + "/foreign", "\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 57), 0o755},
		{l.root + "/etc/passwd", "root:x:0:0::/:/none\n", 0o666},
		{l.root + "/etc/resolv.conf", "", 0o644},
		{l.root + "/open/file", "as it was", 0o666},
		{l.code + "/code", "as it was", 0o666},
		{l.layer + "/layer", "as it was", 0o666},
		{l.secret, secretText, 0o666},
		{l.resolv, resolvText, 0o644},
	} {
		errs = append(errs, os.WriteFile(f.path, []byte(f.content), 0o600), os.Chmod(f.path, f.mode))
	}
	for _, d := range []string{l.code, l.layer, l.root + "/open", l.root + "/opt", l.root + "/etc", l.root} {
		errs = append(errs, os.Chmod(d, 0o777))
	}
	errs = append(errs, os.Chown(l.code, testUID, testGID), os.Symlink(l.secret, l.root+"/link"), os.Symlink(l.secret, l.code+"/link"))
	return l, errors.Join(errs...)
}

// unchanged says how the host's side of the layout differs from what it was.
func (l layout) unchanged() error {
	var errs []error
	for path, want := range map[string]string{
		l.root + "/open/file": "as it was", l.code + "/code": "as it was", l.layer + "/layer": "as it was",
		l.secret: secretText, l.resolv: resolvText, l.root + "/etc/passwd": "root:x:0:0::/:/none\n",
	} {
		got, err := os.ReadFile(path)
		if err == nil && string(got) != want {
			err = errors.New(path + " was changed")
		}
		errs = append(errs, err)
	}
	for dir, want := range map[string]string{
		l.code: "code link", l.layer: "layer", l.root + "/open": "file", l.root + "/etc": "passwd resolv.conf", l.root + "/tmp": "",
		l.root: "dev etc forbidden foreign link open opt probe proc run script suid sys text tmp var",
	} {
		entries, err := os.ReadDir(dir)
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		if got := strings.Join(names, " "); err == nil && got != want {
			err = errors.New(dir + " has " + got)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

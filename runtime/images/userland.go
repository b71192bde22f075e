package images

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
)

// userland is what every image has: about what Amazon Linux's minimal image
// has too. curl is there for bootstraps that are shell scripts.
var userland = []string{
	"base-files", "bash", "dash", "coreutils", "sed", "grep", "mawk", "findutils", "tar", "gzip",
	"libc6", "libc-bin", "libstdc++6", "zlib1g", "ca-certificates", "tzdata", "netbase", "curl",
}

// unwanted are packages that only maintainer scripts, which do not run, would need.
var unwanted = map[string]bool{
	"debconf": true, "dpkg": true, "openssl": true, "perl-base": true, "readline-common": true,
}

// wanted maps a package's file to its place in an image: files for people to
// read are left out, except for the licences.
func wanted(name string) string {
	for _, prefix := range []string{
		"/usr/share/man/", "/usr/share/info/", "/usr/share/locale/", "/usr/share/lintian/", "/usr/share/bug/",
		"/usr/share/doc-base/", "/usr/share/menu/", "/usr/share/debconf/", "/usr/share/bash-completion/",
		"/usr/share/applications/", "/usr/share/pixmaps/", "/usr/share/binfmts/", "/usr/share/python3/",
		"/usr/share/base-files/", "/usr/share/common-licenses/", "/etc/cron", "/etc/init.d/", "/etc/logrotate.d/",
		"/etc/apt/", "/etc/dpkg/", "/var/", "/home/", "/root/", "/boot/", "/media/", "/mnt/", "/srv/", "/usr/games/",
	} {
		if strings.HasPrefix(name, prefix) {
			return ""
		}
	}
	if strings.HasPrefix(name, "/usr/share/doc/") && !strings.HasSuffix(name, "/copyright") {
		return ""
	}
	return name
}

// merged are the top-level directories that are links into /usr.
var merged = []string{"bin", "sbin", "lib", "lib64"}

// layUserland unpacks the packages and does what their maintainer scripts
// would have done and functions need. It returns the versions that went in.
func layUserland(ctx context.Context, t tree, packages []debianPackage, note func(string)) (map[string]string, error) {
	note(fmt.Sprintf("unpacking %d packages", len(packages)))
	for _, name := range merged {
		if err := t.mkdir("/usr/"+name, 0o755); err != nil {
			return nil, err
		}
		if err := t.symlink("usr/"+name, "/"+name); err != nil {
			return nil, err
		}
	}
	versions := map[string]string{}
	for _, p := range packages {
		if unwanted[p.name] {
			continue
		}
		if err := p.unpack(ctx, t, wanted); err != nil {
			return nil, err
		}
		versions[p.name] = p.version
	}
	for _, fix := range []func(tree) error{certificates, locale, accounts, layDirectories} {
		if err := fix(t); err != nil {
			return nil, err
		}
	}
	if !t.exists("/usr/bin/awk") {
		if err := t.symlink("mawk", "/usr/bin/awk"); err != nil {
			return nil, err
		}
	}
	// As on Amazon Linux, where scripts written for /bin/sh may be bash's.
	if err := t.remove("/usr/bin/sh"); err != nil {
		return nil, err
	}
	if err := t.symlink("bash", "/usr/bin/sh"); err != nil {
		return nil, err
	}
	if err := t.symlink("/usr/share/zoneinfo/UTC", "/etc/localtime"); err != nil {
		return nil, err
	}
	return versions, linkLibraries(ctx, t)
}

// linkLibraries makes the dynamic linker's cache.
func linkLibraries(ctx context.Context, t tree) error {
	if err := runIn(ctx, t, "/usr/sbin/ldconfig"); err != nil {
		return err
	}
	return t.remove("/var/cache/ldconfig") // has inode numbers, which differ from build to build
}

// certificateBundle is where Debian's programs and Go look for authorities' certificates.
const certificateBundle = "/etc/ssl/certs/ca-certificates.crt"

// certificates joins the authorities' certificates to the bundle that Debian's
// and Amazon Linux's programs look for.
func certificates(t tree) error {
	names, err := t.glob("/usr/share/ca-certificates/*/*.crt")
	if err != nil {
		return err
	}
	var bundle bytes.Buffer
	for _, name := range names {
		p, err := t.host(name)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		bundle.Write(bytes.TrimSpace(data))
		bundle.WriteByte('\n')
	}
	if err := t.write(certificateBundle, bundle.Bytes(), 0o644); err != nil {
		return err
	}
	for _, name := range []string{
		"/usr/lib/ssl/cert.pem", // where OpenSSL looks by itself
		"/etc/pki/tls/certs/ca-bundle.crt",
		"/etc/pki/tls/cert.pem",
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
	} {
		if err := t.symlink(certificateBundle, name); err != nil {
			return err
		}
	}
	return nil
}

// locale gives LANG=en_US.UTF-8 a meaning: the C locale with UTF-8, which is
// what the two differ from for programs that do not translate.
func locale(t tree) error {
	return t.symlink("C.utf8", "/usr/lib/locale/en_US.utf8")
}

// accounts names the user that functions run as, like on Lambda, where the
// tree does not name users yet.
func accounts(t tree) error {
	for name, content := range map[string]string{
		"/etc/passwd":        "root:x:0:0:root:/root:/bin/bash\nsbx_user1051:x:993:990::/home/sbx_user1051:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n",
		"/etc/group":         "root:x:0:\nsbx_user1051:x:990:\nnogroup:x:65534:\n",
		"/etc/nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\nprotocols: files\nservices: files\n",
	} {
		if t.exists(name) {
			continue
		}
		if err := t.write(name, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// layDirectories makes the places that a sandbox mounts something on.
func layDirectories(t tree) error {
	for _, name := range []string{"/proc", "/sys", "/dev", "/run", "/opt", "/root", "/var/task", "/var/runtime", "/var/lang/bin", "/etc"} {
		if err := t.mkdir(name, 0o755); err != nil {
			return err
		}
	}
	for _, name := range []string{"/tmp", "/var/tmp"} {
		if err := t.mkdir(name, 0o777|os.ModeSticky); err != nil {
			return err
		}
	}
	for name, content := range map[string]string{
		"/etc/hosts":       baseHostname,
		"/etc/hostname":    "",
		"/etc/resolv.conf": "",
	} {
		if err := t.write(name, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

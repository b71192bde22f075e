package packages

import (
	"archive/zip"
	"bytes"
	"io"
	"io/fs"
	"path"
	"strings"
)

// The creators of an archive whose entries carry Unix modes.
const (
	creatorUnix  = 3
	creatorMacOS = 19
)

// The file types of Unix modes.
const (
	typeMask      = 0o170000
	typeRegular   = 0o100000
	typeDirectory = 0o040000
	typeSymlink   = 0o120000
)

// centralHeader begins every entry of an archive's directory.
var centralHeader = []byte("PK\x01\x02")

// entryName returns an entry's path in clean form.
func entryName(f *zip.File) (string, error) {
	name := f.Name
	// Some tools of Windows separate with what is part of a name elsewhere.
	if creator := f.CreatorVersion >> 8; creator != creatorUnix && creator != creatorMacOS && !strings.Contains(name, "/") {
		name = strings.ReplaceAll(name, `\`, "/")
	}
	switch {
	case name == "" || strings.Contains(name, "\x00"):
		return "", unusable("(%q is no file name.)", f.Name)
	case strings.HasPrefix(name, "/"):
		return "", unusable("(%q is an absolute path.)", f.Name)
	case len(name) > maxPath:
		return "", unusable("(A path is longer than %d bytes.)", maxPath)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", unusable("(%q leads out of the package.)", f.Name)
		}
		if len(part) > maxName {
			return "", unusable("(A file name is longer than %d bytes.)", maxName)
		}
	}
	return path.Clean(name), nil
}

// entryMode returns an entry's type and permission. Entries without a permission,
// as tools of Windows write them, get the usual one, which is not executable.
func entryMode(f *zip.File) (fs.FileMode, error) {
	unix := f.ExternalAttrs >> 16
	creator := f.CreatorVersion >> 8
	if unix&typeMask == 0 && creator != creatorUnix && creator != creatorMacOS {
		unix = 0
	}
	mode := fs.FileMode(unix).Perm() // drops set-user-ID, set-group-ID and sticky
	switch unix & typeMask {
	case typeSymlink:
		return fs.ModeSymlink | 0o777, nil
	case typeDirectory:
		mode |= fs.ModeDir
	case typeRegular, 0:
		if f.Mode().IsDir() || strings.HasSuffix(f.Name, "/") || strings.HasSuffix(f.Name, `\`) && creator != creatorUnix {
			mode |= fs.ModeDir
		}
	default:
		return 0, unusable("(%q is neither a file, a directory nor a symbolic link.)", f.Name)
	}
	if mode.Perm() == 0 {
		if mode.IsDir() {
			return fs.ModeDir | directoryPermission, nil
		}
		return filePermission, nil
	}
	return mode, nil
}

// target reads what a symbolic link points to. An absolute one leads out, wherever
// the package is mounted.
func target(f *zip.File) (string, error) {
	if f.UncompressedSize64 == 0 || f.UncompressedSize64 > maxTarget {
		return "", unusable("(The symbolic link %q has a target of %d bytes.)", f.Name, f.UncompressedSize64)
	}
	r, err := f.Open()
	if err != nil {
		return "", unusable("(%q is damaged.)", f.Name)
	}
	defer r.Close()
	content, err := io.ReadAll(io.LimitReader(r, maxTarget+1))
	if err != nil || uint64(len(content)) != f.UncompressedSize64 {
		return "", unusable("(%q is damaged.)", f.Name)
	}
	if bytes.IndexByte(content, 0) >= 0 {
		return "", unusable("(The symbolic link %q has no valid target.)", f.Name)
	}
	if content[0] == '/' {
		return "", unusable("(The symbolic link %q leads out of the package.)", f.Name)
	}
	return string(content), nil
}

// checkEntries refuses archives with more entries than a package may hold, before
// the archive's directory is read into memory. What says how many there are is
// the archive's own word, so their headers are counted. An archive stored within
// the archive counts too, which errs only far beyond real packages.
func (s *Service) checkEntries(r io.ReaderAt, size int64) error {
	count := 0
	buffer := make([]byte, 1<<20)
	for at := int64(0); at < size; at += int64(len(buffer) - len(centralHeader) + 1) {
		n, err := r.ReadAt(buffer, at)
		if err != nil && err != io.EOF {
			return err
		}
		if count += bytes.Count(buffer[:n], centralHeader); count > s.options.MaxEntries {
			return unusable("(A package may hold at most %d files and directories.)", s.options.MaxEntries)
		}
	}
	return nil
}

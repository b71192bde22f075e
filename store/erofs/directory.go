package erofs

import (
	"encoding/binary"
	"io/fs"
	"sort"
)

// dirent is an entry of a directory as it is written: "." and ".." are entries
// like others, at their places in the order of bytes.
type dirent struct {
	name string
	to   *inode
}

func dirents(n *inode) []dirent {
	all := make([]dirent, 0, len(n.entries)+2)
	for _, child := range n.entries {
		all = append(all, dirent{child.Name, child})
	}
	for _, self := range []dirent{{".", n}, {"..", n.parent}} {
		i := sort.Search(len(all), func(i int) bool { return all[i].name > self.name })
		all = append(all, dirent{})
		copy(all[i+1:], all[i:])
		all[i] = self
	}
	return all
}

// blocksOf divides entries into what fits in a block each.
func blocksOf(all []dirent, yield func(block []dirent, used int)) {
	start, used := 0, 0
	for i, entry := range all {
		need := direntSize + len(entry.name)
		if used+need > blockSize {
			yield(all[start:i], used)
			start, used = i, 0
		}
		used += need
	}
	yield(all[start:], used)
}

// directorySize returns the size of a directory's content: whole blocks, then
// what is used of the last one.
func directorySize(n *inode) int64 {
	var blocks, last int
	blocksOf(dirents(n), func(_ []dirent, used int) { blocks, last = blocks+1, used })
	return int64(blocks-1)*blockSize + int64(last)
}

// encodeDirectory returns a directory's content. A block begins with its records,
// whose number follows from the first one's offset of the name; the names follow.
func encodeDirectory(n *inode) []byte {
	content := make([]byte, n.size)
	at := 0
	blocksOf(dirents(n), func(block []dirent, _ int) {
		b := content[at:min(at+blockSize, len(content))]
		name := len(block) * direntSize
		for i, entry := range block {
			record := b[i*direntSize:]
			binary.LittleEndian.PutUint64(record[0:], entry.to.nid())
			binary.LittleEndian.PutUint16(record[8:], uint16(name))
			record[10] = fileType(entry.to.Mode)
			name += copy(b[name:], entry.name)
		}
		at += blockSize
	})
	return content
}

func fileType(mode fs.FileMode) byte {
	switch mode.Type() {
	case fs.ModeDir:
		return typeDirectory
	case fs.ModeSymlink:
		return typeSymlink
	}
	return typeRegular
}

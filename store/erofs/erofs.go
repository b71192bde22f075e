// Package erofs writes erofs images: read-only file systems that Linux mounts
// straight from their file.
//
// An image is a function of what is put in: the same tree gives the same bytes.
// Everything belongs to root. Content is stored uncompressed, so that the page
// cache is all that stands between a file and its blocks; the last, partial block
// of a file lies beside its inode. The package needs no tools and no privileges,
// and never makes a file of what it packs.
package erofs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
)

// Version names the layout that Write gives an image. It changes whenever the
// same tree would give other bytes.
const Version = 1

// Node is a file of an image. The writer sorts Children; it changes nothing else.
type Node struct {
	// Name is the last element of the path, up to 255 bytes; the root's is ignored.
	Name string
	// Mode is a permission, with fs.ModeDir or fs.ModeSymlink for those types.
	Mode fs.FileMode
	// Modified is in seconds since 1970, not negative.
	Modified int64
	// Size is the length of a regular file in bytes.
	Size int64
	// Open returns the content of a regular file; the writer reads it to its end,
	// which must come after Size bytes, and closes it. It is not called for
	// files of no bytes.
	Open func() (io.ReadCloser, error)
	// Target is what a symbolic link points to, up to 4095 bytes.
	Target string
	// Children are what a directory holds.
	Children []*Node
}

const (
	blockSize  = 4096
	superblock = 1024 // offset in the image
	superSize  = 128
	inodeSize  = 64
	slotSize   = 32 // inodes are numbered by their place in these
	direntSize = 12
	maxName    = 255
	maxTarget  = 4095

	magic          = 0xE0F5E1E2
	compatModified = 0x2
	formatPlain    = 1          // 64-byte inode, all content in blocks
	formatInline   = 1 | 2<<1   // 64-byte inode, last partial block beside it
	noBlock        = 0xFFFFFFFF // block address of files without blocks
	typeRegular    = 1
	typeDirectory  = 2
	typeSymlink    = 7
	statRegular    = 0o100000
	statDirectory  = 0o040000
	statSymlink    = 0o120000
	maxBlocks      = 1 << 31
)

// inode is a node with its place in the image.
type inode struct {
	*Node
	parent  *inode
	entries []*inode // a directory's, in the order of Children
	number  uint32
	size    int64
	tail    int64 // bytes beside the inode
	at      int64 // offset of the inode
	block   int64 // of the first whole block
}

// writer lays a tree out and writes it.
type writer struct {
	out    io.WriterAt
	inodes []*inode // parents before their children
	end    int64    // of the inodes and what lies beside them
	blocks int64    // of the whole image
	buffer []byte
}

// Write writes the image of the tree at root to w and returns its size, a
// multiple of 4096 bytes. What it does not write at must read as zeros, as in a
// new file that is extended to that size.
func Write(w io.WriterAt, root *Node) (int64, error) {
	if !root.Mode.IsDir() {
		return 0, fmt.Errorf("erofs: the root is no directory")
	}
	writer := &writer{out: w, buffer: make([]byte, 64*blockSize)}
	if err := writer.add(root, nil); err != nil {
		return 0, err
	}
	if err := writer.place(); err != nil {
		return 0, err
	}
	for _, n := range writer.inodes {
		if err := writer.write(n); err != nil {
			return 0, err
		}
	}
	if err := writer.writeSuperblock(); err != nil {
		return 0, err
	}
	return writer.blocks * blockSize, nil
}

// add takes a node and everything below it into the image.
func (w *writer) add(node *Node, parent *inode) error {
	n := &inode{Node: node, parent: parent, number: uint32(len(w.inodes) + 1)}
	w.inodes = append(w.inodes, n)
	if parent == nil {
		n.parent = n
	} else {
		parent.entries = append(parent.entries, n)
		if node.Name == "" || node.Name == "." || node.Name == ".." || len(node.Name) > maxName || strings.ContainsAny(node.Name, "/\x00") {
			return fmt.Errorf("erofs: invalid file name %q", node.Name)
		}
	}
	if node.Modified < 0 {
		return fmt.Errorf("erofs: %q was modified before 1970", node.Name)
	}
	switch node.Mode.Type() {
	case 0:
		if n.size = node.Size; n.size < 0 {
			return fmt.Errorf("erofs: %q has a negative size", node.Name)
		}
	case fs.ModeSymlink:
		if n.size = int64(len(node.Target)); n.size == 0 || n.size > maxTarget {
			return fmt.Errorf("erofs: %q has a target of %d bytes", node.Name, n.size)
		}
	case fs.ModeDir:
		slices.SortFunc(node.Children, func(a, b *Node) int { return strings.Compare(a.Name, b.Name) })
		for i, child := range node.Children {
			if i > 0 && node.Children[i-1].Name == child.Name {
				return fmt.Errorf("erofs: %q is there twice", child.Name)
			}
			if err := w.add(child, n); err != nil {
				return err
			}
		}
		n.size = directorySize(n)
	default:
		return fmt.Errorf("erofs: %q is a %v", node.Name, node.Mode.Type())
	}
	return nil
}

// place gives every inode its offset, then every file its blocks.
func (w *writer) place() error {
	at := int64(superblock + superSize)
	for _, n := range w.inodes {
		// An inode and what lies beside it never cross the end of a block.
		if tail := n.size % blockSize; inodeSize+tail <= blockSize {
			n.tail = tail
		}
		if at%blockSize+inodeSize+n.tail > blockSize {
			at = alignUp(at, blockSize)
		}
		n.at = at
		at = alignUp(at+inodeSize+n.tail, slotSize)
	}
	w.end = at
	w.blocks = alignUp(at, blockSize) / blockSize
	for _, n := range w.inodes {
		n.block = noBlock
		if count := alignUp(n.size-n.tail, blockSize) / blockSize; count > 0 {
			n.block = w.blocks
			w.blocks += count
		}
		if w.blocks > maxBlocks {
			return fmt.Errorf("erofs: the image would be larger than %d blocks", maxBlocks)
		}
	}
	return nil
}

// write writes an inode and its content.
func (w *writer) write(n *inode) error {
	record := make([]byte, inodeSize+n.tail)
	n.encode(record)
	tail := record[inodeSize:]
	switch {
	case n.Mode.IsDir():
		content := encodeDirectory(n)
		whole := content[:n.size-n.tail]
		copy(tail, content[len(whole):])
		if len(whole) > 0 {
			if _, err := w.out.WriteAt(whole, n.block*blockSize); err != nil {
				return err
			}
		}
	case n.Mode.Type() == fs.ModeSymlink && n.tail > 0:
		copy(tail, n.Target)
	case n.Mode.Type() == fs.ModeSymlink:
		if _, err := w.out.WriteAt([]byte(n.Target), n.block*blockSize); err != nil {
			return err
		}
	case n.size > 0:
		if err := w.writeContent(n, tail); err != nil {
			return fmt.Errorf("%s: %w", n.Name, err)
		}
	}
	_, err := w.out.WriteAt(record, n.at)
	return err
}

// writeContent copies a regular file's content: whole blocks into the image, the
// rest to tail.
func (w *writer) writeContent(n *inode, tail []byte) error {
	content, err := n.Open()
	if err != nil {
		return err
	}
	defer content.Close()
	at, left := n.block*blockSize, n.size-n.tail
	for left > 0 {
		chunk := w.buffer[:min(left, int64(len(w.buffer)))]
		if _, err := io.ReadFull(content, chunk); err != nil {
			return short(err)
		}
		if _, err := w.out.WriteAt(chunk, at); err != nil {
			return err
		}
		at, left = at+int64(len(chunk)), left-int64(len(chunk))
	}
	if _, err := io.ReadFull(content, tail); err != nil {
		return short(err)
	}
	// Readers of checksummed formats report a mismatch only at the end.
	switch _, err := io.ReadFull(content, w.buffer[:1]); err {
	case io.EOF:
		return nil
	case nil:
		return fmt.Errorf("erofs: content is longer than %d bytes", n.size)
	default:
		return err
	}
}

func short(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// encode writes the inode's record.
func (n *inode) encode(b []byte) {
	le := binary.LittleEndian
	format, links, mode := uint16(formatPlain), uint32(1), uint16(n.Mode.Perm())
	if n.tail > 0 {
		format = formatInline
	}
	switch n.Mode.Type() {
	case fs.ModeDir:
		mode |= statDirectory
		links = 2
		for _, child := range n.entries {
			if child.Mode.IsDir() {
				links++
			}
		}
	case fs.ModeSymlink:
		mode |= statSymlink
	default:
		mode |= statRegular
	}
	le.PutUint16(b[0:], format)
	le.PutUint16(b[4:], mode)
	le.PutUint64(b[8:], uint64(n.size))
	le.PutUint32(b[16:], uint32(n.block))
	le.PutUint32(b[20:], n.number)
	le.PutUint64(b[32:], uint64(n.Modified))
	le.PutUint32(b[44:], links)
}

// nid is the inode's number as directories write it.
func (n *inode) nid() uint64 { return uint64(n.at / slotSize) }

// writeSuperblock completes the image.
func (w *writer) writeSuperblock() error {
	b := make([]byte, superSize)
	le := binary.LittleEndian
	le.PutUint32(b[0:], magic)
	le.PutUint32(b[8:], compatModified)
	b[12] = 12 // log2 of blockSize
	le.PutUint16(b[14:], uint16(w.inodes[0].nid()))
	le.PutUint64(b[16:], uint64(len(w.inodes)))
	le.PutUint32(b[36:], uint32(w.blocks))
	_, err := w.out.WriteAt(b, superblock)
	return err
}

func alignUp(n, to int64) int64 { return (n + to - 1) / to * to }

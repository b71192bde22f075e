package functions

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"kiln/lambda"
)

const (
	copyFile = "catalog.json"
	// copyFormat changes whenever older files cannot be read any more.
	copyFormat = 1
	// copyDelay is the least time between two writes of the copy; a large catalog,
	// whose copy takes long to write, is written less often: copyShare is the part
	// of the time that may go into it.
	copyDelay = time.Second
	copyShare = 20
)

// disk keeps the catalog's copy in a directory.
type disk struct {
	dir   string
	dirty chan struct{} // holds a token if memory is newer than the copy
	saved int64         // revision of the last copy written; the saving goroutine's
}

// snapshot is the content of the copy.
type snapshot struct {
	Format   int               `json:"format"`
	Identity string            `json:"identity"`
	Revision int64             `json:"revision"`
	Records  []*record         `json:"records"`
	Versions []*lambda.Version `json:"versions"`
}

func (d *disk) open(dir string) error {
	d.dir, d.dirty = dir, make(chan struct{}, 1)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("function catalog: %w", err)
	}
	return nil
}

// load reads the copy; nil if there is none.
func (d *disk) load() (*snapshot, error) {
	f, err := os.Open(filepath.Join(d.dir, copyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := &snapshot{}
	if err := json.NewDecoder(bufio.NewReaderSize(f, 1<<20)).Decode(s); err != nil {
		return nil, fmt.Errorf("decode %s: %w", f.Name(), err)
	}
	if s.Format != copyFormat {
		return nil, fmt.Errorf("%s has format %d, not %d", f.Name(), s.Format, copyFormat)
	}
	return s, nil
}

// entries returns what the copy holds, as the catalog keeps it.
func (s *snapshot) entries() map[lambda.FunctionKey]*entry {
	entries := make(map[lambda.FunctionKey]*entry, len(s.Records))
	for _, r := range s.Records {
		entries[r.Function.Key] = &entry{r, map[int]*lambda.Version{}}
	}
	for _, v := range s.Versions {
		n, ok := versionNumber(v.Key.Number)
		if e := entries[v.Key.FunctionKey]; ok && e != nil {
			e.versions[n] = v
		}
	}
	return entries
}

// write replaces the copy; a crash leaves either the old or the new one.
func (d *disk) write(s *snapshot) error {
	f, err := os.CreateTemp(d.dir, copyFile+".*.new")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it is renamed
	w := bufio.NewWriterSize(f, 1<<20)
	err = errors.Join(json.NewEncoder(w).Encode(s), w.Flush(), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(d.dir, copyFile)); err != nil {
		return err
	}
	dir, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// changed says that the copy is out of date.
func (d *disk) changed() {
	select {
	case d.dirty <- struct{}{}:
	default:
	}
}

// save writes the copy some time after each change, and at the end if it is behind.
func (c *Catalog) save(ctx context.Context) {
	for {
		select {
		case <-c.disk.dirty:
			begin := time.Now()
			c.saveNow()
			select {
			case <-time.After(max(copyDelay, copyShare*time.Since(begin))):
			case <-ctx.Done():
			}
		case <-ctx.Done():
			c.mu.RLock()
			same := c.revision == c.disk.saved
			c.mu.RUnlock()
			if !same {
				c.saveNow()
			}
			return
		}
	}
}

// saveNow writes the copy of one consistent moment.
func (c *Catalog) saveNow() {
	c.mu.RLock()
	s := &snapshot{Format: copyFormat, Identity: c.identity, Revision: c.revision}
	for _, e := range c.entries {
		if e.record != nil {
			s.Records = append(s.Records, e.record)
		}
		for _, v := range e.versions {
			s.Versions = append(s.Versions, v)
		}
	}
	c.mu.RUnlock()
	if err := c.disk.write(s); err != nil {
		c.logger.Warn("the copy of the function catalog cannot be written", "error", err)
		c.disk.changed()
		return
	}
	c.disk.saved = s.Revision
}

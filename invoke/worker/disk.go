package worker

import "golang.org/x/sys/unix"

const (
	// diskReserveMB and diskReserveShare of the disk below Config.StorageDir are
	// kept free of new slots, the larger of the two: the services write there too.
	// What the environments' /tmp may hold is not set aside, as most stay empty.
	diskReserveMB    = 2048
	diskReserveShare = 5 // percent
)

// disk says how large the file system of a directory is and what is free, in
// MB. Where that is unknown it says so.
func disk(dir string) (total, free int, known bool) {
	var st unix.Statfs_t
	if dir == "" || unix.Statfs(dir, &st) != nil {
		return 0, 0, false
	}
	mb := func(blocks uint64) int { return int(blocks * uint64(st.Bsize) >> 20) }
	return mb(st.Blocks), mb(st.Bavail), true
}

// diskFits reports whether the disk has room for one more environment's /tmp.
func diskFits(dir string) bool {
	total, free, known := disk(dir)
	return !known || free > max(diskReserveMB, total*diskReserveShare/100)
}

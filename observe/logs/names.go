package logs

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// maxDirName is the length up to which a group's directory has its whole name.
const maxDirName = 200

// dirName returns the name of a group's directory. It is readable, differs for
// different groups also where the file system ignores case, and begins with no
// dot. The group's own name is in group.json.
func dirName(group string) string {
	var b strings.Builder
	folded := false
	for i := range len(group) {
		c := group[i]
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_', c == '.' && i > 0:
			b.WriteByte(c)
		case c >= 'A' && c <= 'Z':
			b.WriteByte(c)
			folded = true
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	name := b.String()
	if len(name) <= maxDirName && !folded {
		return name
	}
	sum := sha256.Sum256([]byte(group))
	return name[:min(len(name), maxDirName)] + "~" + hex.EncodeToString(sum[:8])
}

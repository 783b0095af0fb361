package eventlog

import (
	"strconv"
	"strings"
)

// Cursor is a place in a client's log: right after the event numbered Seq, as
// seen in the epoch Epoch of that log. Readers treat its text as opaque.
//
// An epoch is one client's log in one incarnation of the store. What an incarnation is
// the store decides: with SQLite each start of serve is one; others may keep one over
// restarts, and then the numbers just go on. Nobody may conclude from one client's epoch
// to another's. A store that lost commits, because an older copy of it was restored, goes
// on in a new epoch.
//
// The zero Cursor is the beginning of every log and is written "0-0": whoever
// holds it has seen nothing, so no restore of an older copy can make it skip.
type Cursor struct {
	Epoch string // [a-z0-9]{1,16}; empty only in the zero Cursor
	Seq   uint64
}

const maxCursorBytes = 16 + 1 + 19

// String returns `<epoch>-<seq>`.
func (c Cursor) String() string {
	epoch := c.Epoch
	if epoch == "" {
		epoch = "0"
	}
	return epoch + "-" + strconv.FormatUint(c.Seq, 10)
}

// ParseCursor reads what String wrote. It reports false for anything else:
// another alphabet, leading zeros, a number beyond int64, too long a text.
func ParseCursor(s string) (Cursor, bool) {
	if len(s) > maxCursorBytes {
		return Cursor{}, false
	}
	epoch, num, ok := strings.Cut(s, "-")
	if !ok || epoch == "" || len(epoch) > 16 || num == "" || (num[0] == '0' && num != "0") {
		return Cursor{}, false
	}
	for i := range len(epoch) {
		if c := epoch[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return Cursor{}, false
		}
	}
	for i := range len(num) {
		if num[i] < '0' || num[i] > '9' {
			return Cursor{}, false
		}
	}
	seq, err := strconv.ParseUint(num, 10, 63)
	if err != nil {
		return Cursor{}, false
	}
	if epoch == "0" {
		return Cursor{}, seq == 0
	}
	return Cursor{Epoch: epoch, Seq: seq}, true
}

package jobs

import (
	"encoding/binary"
	"time"

	"github.com/google/uuid"
)

// idChars is how long the id of a job is: 32 hexadecimal digits and four hyphens.
const idChars = 36

// ParseID reads the id of a job as somebody else spells it and returns it as it
// is written here. Upper case is read and lower case written (RFC 9562 4); braces,
// `urn:uuid:` and digits without hyphens are no ids. The result shares no memory
// with text.
func ParseID(text string) (id string, ok bool) {
	if len(text) != idChars {
		return "", false
	}
	u, err := uuid.Parse(text)
	return u.String(), err == nil
}

// FirstID returns what no id of a job that was submitted at t or later is less than: ids
// are of UUIDs that begin with the time (version 7, RFC 9562 5.7), and compare as texts.
func FirstID(t time.Time) string {
	var u uuid.UUID
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(max(0, t.UnixMilli())))
	copy(u[:6], ms[2:])
	return u.String()
}

package gateway

import (
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/jobcast/jobcast/eventlog"
)

// pid is the secret of a session: whoever has it, and a key of the same client,
// may go on with it. It carries what every session must know, so that one without
// rooms needs nothing in the store.
type pid struct {
	id    string          // names the session in the store
	start eventlog.Cursor // the session began here
	made  int64           // Unix s
}

// maxPID bounds what is looked at.
const maxPID = 256

// Signer authenticates texts; *auth.Signer is one.
type Signer interface {
	MAC(purpose, text string) []byte
}

// secretLength is how much of an id is secret, at its end. What stands before it
// is the time: sessions that begin together stand together in the store, so that
// what joins within one commit changes few of its pages.
const secretLength = 26

func newPID(start eventlog.Cursor, now time.Time) pid {
	return pid{id: strconv.FormatInt(now.UnixMilli(), 36) + rand.Text(), start: start, made: now.Unix()}
}

// joinBits is how many bits of a join's number count; those above name the session.
const joinBits = 20

// base is the number before the session's first join. It differs from session to
// session, because a client may come with the offset of an older one.
func (p pid) base() int64 {
	n := int64(0)
	secret := p.id[len(p.id)-secretLength:]
	for _, c := range []byte(secret[:8]) {
		n = n<<5 | int64(c&31)
	}
	return n << joinBits
}

// text seals the pid for a client: `<id>.<start>.<made>.<MAC>`.
func (p pid) text(s Signer, client string) string {
	plain := p.id + "." + p.start.String() + "." + strconv.FormatInt(p.made, 36)
	return plain + "." + seal(s, client, plain)
}

func seal(s Signer, client, plain string) string {
	return base64.RawURLEncoding.EncodeToString(s.MAC("socket.io session", client+"\x00"+plain)[:16])
}

// parsePID reads what text wrote for the same client.
func parsePID(s Signer, client, text string) (pid, bool) {
	parts := strings.Split(text, ".")
	if len(text) > maxPID || len(parts) != 4 {
		return pid{}, false
	}
	plain := strings.Join(parts[:3], ".")
	if !hmac.Equal([]byte(seal(s, client, plain)), []byte(parts[3])) {
		return pid{}, false
	}
	start, ok := eventlog.ParseCursor(parts[1])
	made, err := strconv.ParseInt(parts[2], 36, 64)
	if !ok || err != nil || len(parts[0]) < secretLength {
		return pid{}, false
	}
	return pid{parts[0], start, made}, true
}

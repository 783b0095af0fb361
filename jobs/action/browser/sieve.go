package browser

import (
	"bytes"
	"fmt"
	"io"
	"time"
)

// How long a message of the browser may be, because it stands in memory as a whole, and a
// page chooses how long some are.
const (
	maxMessage = 64 << 20 // a full screenshot has half of it
	maxLogged  = 1 << 20  // of one that a page logs
)

// A page that logs without end is silenced (steps.Session). Until it is, so many of its messages are
// read, and of each second so many more: reading is slow, and all pages wait meanwhile.
const (
	maxFlood  = 3000
	floodRate = 1000
	maxFloods = 1000 // pages that are known to log
)

// signBytes is how much of a message that is too long is kept of its beginning, which says
// what it is, and of its end, which says whose.
const signBytes = 256

// sieve copies the messages of the browser, each with a zero byte at its end. In the place
// of one that is too long, it puts a short one: a page that logs all it has, or a picture that
// is too large, is to bring down nobody. It leaves out what a page logs beyond maxFlood.
type sieve struct {
	out     io.Writer
	floods  map[string]*flood // by the end of messages, which says whose they are
	longest int               // of any
	logged  int               // of one that a page logs
	held    bytes.Buffer      // the beginning of a message
	over    int               // bytes of it that were let go of; 0: none
	tail    []byte            // its last ones, if some were
}

// pass copies messages until there are no more.
func (s *sieve) pass(in io.Reader) {
	buf := make([]byte, 64<<10)
	for {
		n, err := in.Read(buf)
		if s.take(buf[:n]) != nil || err != nil {
			return
		}
	}
}

// flood is how many messages a page has logged lately.
type flood struct {
	level float64
	at    time.Time
}

// take takes a piece of what the browser says, which is smaller than the limits.
func (s *sieve) take(b []byte) error {
	from := 0 // begin of what is to be passed on
	for at := 0; at < len(b); {
		end := bytes.IndexByte(b[at:], 0)
		if end < 0 {
			s.hold(b[at:])
			b = b[:at]
			break
		}
		one := b[at : at+end+1]
		at += len(one)
		if s.held.Len() > 0 {
			s.hold(one)
			if err := s.release(); err != nil {
				return err
			}
			from = at
		} else if s.tooMany(one) {
			if _, err := s.out.Write(b[from : at-len(one)]); err != nil {
				return err
			}
			from = at
		}
	}
	if from == len(b) {
		return nil
	}
	_, err := s.out.Write(b[from:])
	return err
}

// tooMany reports whether a message is what a page logs, and it logs too much.
func (s *sieve) tooMany(message []byte) bool {
	if !isLogged(message) {
		return false
	}
	whose := message[max(0, bytes.LastIndexByte(message, ',')):] // ,"sessionId":"…"}
	f := s.floods[string(whose)]
	if f == nil {
		if len(s.floods) >= maxFloods || s.floods == nil {
			s.floods = make(map[string]*flood)
		}
		f = new(flood)
		s.floods[string(whose)] = f
	}
	now := time.Now()
	f.level, f.at = max(0, f.level-now.Sub(f.at).Seconds()*floodRate), now
	if f.level >= maxFlood {
		return true
	}
	f.level++
	return false
}

// hold keeps a piece of a message that has not ended, or forgets most of one that is too long.
func (s *sieve) hold(b []byte) {
	if s.over > 0 {
		s.over += len(b)
		s.tail = append(s.tail, b...)
		s.tail = s.tail[max(0, len(s.tail)-signBytes):]
		return
	}
	s.held.Write(b)
	all, limit := s.held.Bytes(), s.longest
	if isLogged(all) {
		limit = s.logged
	}
	if len(all) > limit+1 { // with its end
		s.over = len(all) - signBytes
		s.tail = bytes.Clone(all[len(all)-signBytes:])
		s.held = *bytes.NewBuffer(bytes.Clone(all[:signBytes]))
	}
}

// release passes on the message that has ended, or what is said in its place.
func (s *sieve) release() error {
	text := s.held.Bytes()
	if s.over > 0 {
		text = instead(text, s.tail, len(text)+s.over-1)
	}
	var err error
	if !s.tooMany(text) {
		_, err = s.out.Write(text)
	}
	if s.held.Reset(); s.held.Cap() > s.logged {
		s.held = bytes.Buffer{}
	}
	s.over, s.tail = 0, s.tail[:0]
	return err
}

// isLogged reports whether a message that begins so is what a page logs.
func isLogged(head []byte) bool {
	for _, event := range []string{"Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"} {
		if bytes.HasPrefix(head, []byte(`{"method":"`+event+`"`)) {
			return true
		}
	}
	return false
}

// instead is what is said in the place of a message of so many bytes: of a page's log that it
// was there, of an answer that it is none, and nothing of what else happens.
func instead(head, tail []byte, size int) []byte {
	whose := ""
	if at := bytes.LastIndex(tail, []byte(`,"sessionId":"`)); at >= 0 {
		whose = string(tail[at:bytes.LastIndexByte(tail, '}')])
	}
	var id int64
	switch _, err := fmt.Sscanf(string(head), `{"id":%d,`, &id); {
	case err == nil:
		return fmt.Appendf(nil, `{"id":%d,"error":{"code":-32000,"message":"the answer has %d bytes"}%s}`+"\x00", id, size, whose)
	case isLogged(head) && whose != "":
		return fmt.Appendf(nil, `{"method":"Runtime.consoleAPICalled","params":{"type":"warning","args":[{"type":"string",`+
			`"value":"jobcast left out %d bytes that the page has logged at once"}],"executionContextId":0,"timestamp":0}%s}`+"\x00", size, whose)
	}
	return nil
}

package browser

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// TestSieve: what the browser says passes as it is, but for a message that is too long: who
// waits for an answer gets one, and what a page logs is told of, in whatever pieces it comes.
func TestSieve(t *testing.T) {
	const longest, logged = 2000, 1000
	fill := func(head, tail string, size int) string {
		return head + strings.Repeat("x", size-len(head)-len(tail)) + tail
	}
	const (
		log    = `{"method":"Runtime.consoleAPICalled","params":{"x":"`
		of     = `"},"sessionId":"S1"}`
		answer = `{"id":17,"result":{"data":"`
		event  = `{"method":"Network.requestWillBeSent","params":{"x":"`
	)
	note := func(size int) string {
		return fmt.Sprintf(`{"method":"Runtime.consoleAPICalled","params":{"type":"warning","args":[{"type":"string",`+
			`"value":"jobcast left out %d bytes that the page has logged at once"}],"executionContextId":0,"timestamp":0},"sessionId":"S1"}`, size)
	}
	for said, want := range map[string]string{
		fill(log, of, logged):       fill(log, of, logged),
		fill(log, of, logged+1):     note(logged + 1),
		fill(log, of, 200_000):      note(200_000),
		fill(answer, of, longest):   fill(answer, of, longest),
		fill(answer, of, longest+1): `{"id":17,"error":{"code":-32000,"message":"the answer has 2001 bytes"},"sessionId":"S1"}`,
		fill(answer, `"}}`, 3000):   `{"id":17,"error":{"code":-32000,"message":"the answer has 3000 bytes"}}`,
		fill(event, of, longest):    fill(event, of, longest),
		fill(event, of, longest+1):  "",
		fill(log, `"}}`, 3000):      "",
	} {
		if want != "" {
			want += "\x00"
		}
		all := "a\x00" + said + "\x00b\x00\x00" + said + "\x00c"
		for how, in := range map[string]func(string) string{
			"bytes":  func(s string) string { return sifted(longest, logged, 1, s) },
			"pieces": func(s string) string { return sifted(longest, logged, 333, s) },
			"lumps":  func(s string) string { return sifted(longest, logged, logged-1, s) },
		} {
			if got := in(all); got != "a\x00"+want+"b\x00\x00"+want {
				t.Errorf("%.40s of %d in %s became %.300q", said, len(said), how, got)
			}
		}
	}
	var out strings.Builder
	s := sieve{out: &out, longest: longest, logged: logged}
	if s.pass(iotest.HalfReader(strings.NewReader("a\x00b\x00"))); out.String() != "a\x00b\x00" {
		t.Errorf("%q", out.String())
	}
}

// TestFlood: of what one page logs without end some passes, of all else everything.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		s := sieve{out: &out, longest: maxMessage, logged: maxLogged}
		say := func(n int, message string) int {
			out.Reset()
			for range n {
				_ = s.take([]byte("{}\x00" + message[:9])) // a Builder takes all
				_ = s.take([]byte(message[9:] + "\x00" + message + "\x00{}\x00"))
			}
			if got := strings.Count(out.String(), "{}\x00"); got != 2*n {
				t.Fatalf("%d of %d others", got, 2*n)
			}
			return strings.Count(out.String(), message+"\x00")
		}
		log := func(of string) string {
			return `{"method":"Log.entryAdded","params":{"entry":{"text":",x"}},"sessionId":"` + of + `"}`
		}
		if got := say(maxFlood, log("A")); got != maxFlood {
			t.Errorf("%d lines of a flood", got)
		}
		if got := say(1000, log("B")); got != 2000 {
			t.Errorf("%d lines of another page", got)
		}
		time.Sleep(500 * time.Millisecond)
		if got := say(1000, log("A")); got != floodRate/2 {
			t.Errorf("%d lines in half a second more", got)
		}
		if got := say(maxFlood, `{"method":"Page.frameNavigated","params":{},"sessionId":"A"}`); got != 2*maxFlood {
			t.Errorf("%d of %d other events", got, 2*maxFlood)
		}
		for i := range 2 * maxFloods {
			say(1, log(fmt.Sprint(i)))
		}
		if len(s.floods) > maxFloods {
			t.Errorf("%d pages are known", len(s.floods))
		}
	})
}

// sifted passes said in pieces of a size, which are smaller than the limits.
func sifted(longest, logged, size int, said string) string {
	var out strings.Builder
	s := sieve{out: &out, longest: longest, logged: logged}
	for piece := range slices.Chunk([]byte(said), size) {
		_ = s.take(piece) // a Builder takes all
	}
	return out.String()
}

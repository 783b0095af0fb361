package engineio_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/transport/engineio"
	"github.com/jobcast/jobcast/transport/engineio/engineiotest"
	"github.com/jobcast/jobcast/transport/wire"
)

func TestPollingCarriesMessages(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		r.prepare = func(a *app) { a.echo = true }
		p := r.Open("")
		for _, packets := range [][]string{
			{"4hello"},
			{"4one", "4two", "4three"},
			{"4text", "bAQIDBA=="},
			{"4"},
			{"4h\u00e9 \u20ac \U0001F600"},
			{"b"},
		} {
			p.Sent(packets...)
			p.Gets(packets...)
		}
		r.app(p.SID).got(t, "hello", "one", "two", "three", "text", "binary:\x01\x02\x03\x04", "", "h\u00e9 \u20ac \U0001F600", "binary:")
	})
}

// A GET waits, and its answer carries everything that is due.
func TestAPollWaits(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		p := r.Open("")
		a := r.app(p.SID)
		poll := p.Poll()
		synctest.Wait()
		if poll.Answered() {
			t.Fatalf("answered %q although nothing is due", poll.Reply().Body)
		}
		a.send("a", "b")
		reply := poll.Reply()
		reply.Is(t, 200, joined("4a", "4b"))
		if ct, cc := reply.Header.Get("Content-Type"), reply.Header.Get("Cache-Control"); !strings.EqualFold(ct, "text/plain; charset=UTF-8") || cc != "no-store" {
			t.Errorf("headers %q %q", ct, cc)
		}
		a.send("c")
		a.sendBinary("\xff\x00")
		p.Gets("4c", "b/wA=")
	})
}

// Browsers keep their connections: a parked one serves requests again.
func TestPollingOnKeptConnections(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		r.prepare = func(a *app) { a.echo = true }
		p := engineiotest.NewClient(t, r.dial, "/engine.io/", true).Open("")
		for range 20 {
			poll := p.Poll()
			synctest.Wait()
			p.Sent("4x", "4y")
			packets := strings.Split(poll.Reply().Body, "\x1e")
			if len(packets) < 2 {
				packets = append(packets, p.Collect(2-len(packets))...)
			}
			if joined(packets...) != joined("4x", "4y") {
				t.Fatalf("got %q", packets)
			}
		}
	})
}

// A poll that comes again on its connection, the same but for its time stamp, does
// not go through the HTTP server; whatever is not the same does, and nothing is lost
// or out of order in between.
func TestPollsThatComeAgain(t *testing.T) {
	t.Run("tcp", func(t *testing.T) { pollAgain(t, engineiotest.TCP) })
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { pollAgain(t, engineiotest.Memory) })
	})
}

func pollAgain(t *testing.T, serve func(*testing.T, *fiber.App, *wire.Pool) engineiotest.Dial) {
	t.Helper()
	var visits, again atomic.Int64
	r := newRig(t, engineio.Options{LogRepeats: func(*fiber.Ctx) func() string {
		visits.Add(1)
		return func() string { return fmt.Sprintf("again-%d", again.Add(1)) }
	}}, serve)
	p := engineiotest.NewClient(t, r.dial, "/engine.io/", true).Open("")
	a := r.app(p.SID)
	for i := range 100 {
		a.send(strconv.Itoa(i))
		query := p.Query() + "&t=" + strconv.Itoa(i)
		if i == 50 {
			query += "&other=1"
		}
		was := again.Load()
		reply := p.Do(http.MethodGet, query, "")
		reply.Is(t, http.StatusOK, "4"+strconv.Itoa(i))
		id := reply.Header.Get("X-Request-Id")
		if n := again.Load(); n > was && id != fmt.Sprintf("again-%d", n) || n == was && id != "" {
			t.Errorf("poll %d has the request id %q", i, id)
		}
		if i%10 == 5 {
			p.Sent("4" + strconv.Itoa(i)) // on the same connection
		}
	}
	// Two go through the server at the beginning, after each POST, and when
	// they are not the same: the server's first look tells nothing of the bytes.
	if v, n := visits.Load(), again.Load(); v+n != 100 || n < 100-2*12 {
		t.Errorf("%d polls went through the server, %d did not", v, n)
	}
	a.got(t, "5", "15", "25", "35", "45", "55", "65", "75", "85", "95")
}

// What ends a session ends it also for a client whose polls come again.
func TestTheEndOfPollsThatComeAgain(t *testing.T) {
	for name, tc := range map[string]struct {
		end   func(t *testing.T, r *rig, p *engineiotest.Poller)
		cause error
	}{
		"closed by the server": {func(t *testing.T, r *rig, p *engineiotest.Poller) {
			r.app(p.SID).send("last")
			r.app(p.SID).session.Close(errWanted)
			p.Gets("4last")
		}, errWanted},
		"closed by the server while it waits": {func(t *testing.T, r *rig, p *engineiotest.Poller) {
			poll := p.Poll()
			synctest.Wait()
			r.app(p.SID).session.Close(errWanted)
			poll.Reply().Is(t, http.StatusOK, "1")
		}, errWanted},
		"silent for too long": {func(t *testing.T, r *rig, p *engineiotest.Poller) {
			time.Sleep(quick.PingInterval + quick.PingTimeout + time.Millisecond)
		}, engineio.ErrPingTimeout},
		"a second poll at once": {func(t *testing.T, r *rig, p *engineiotest.Poller) {
			first := p.Poll()
			synctest.Wait()
			p.Get().Is(t, http.StatusBadRequest, "")
			first.Reply().Is(t, http.StatusOK, "1")
		}, engineio.ErrTransport},
		"the poll is cut": {func(t *testing.T, r *rig, p *engineiotest.Poller) {
			poll := p.Poll()
			synctest.Wait()
			poll.Abort()
		}, engineio.ErrTransport},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, quick, func(t *testing.T, r *rig) {
				p := engineiotest.NewClient(t, r.dial, "/engine.io/", true).Open("")
				for range 5 {
					r.app(p.SID).send("x")
					p.Gets("4x")
				}
				tc.end(t, r, p)
				wantCause(t, r.app(p.SID), tc.cause)
				p.Unknown()
			})
		})
	}
}

func TestOverlappingPolls(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		check := r.neighbour()
		p := r.Open("")
		first := p.Poll()
		synctest.Wait()
		p.Get().Is(t, 400, "")
		first.Reply().Is(t, 200, "1")
		p.Unknown()
		wantCause(t, r.app(p.SID), engineio.ErrTransport)
		check()
	})
}

func TestOverlappingPosts(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		check := r.neighbour()
		p := r.Open("")
		a := r.app(p.SID)
		gate := make(chan struct{})
		a.onReceive = func(engineio.Message) error { <-gate; return nil }
		first := p.Begin(p.Request(http.MethodPost, p.Query(), strings.NewReader("4first")))
		synctest.Wait()
		p.Post("4second").Is(t, 400, "")
		select {
		case <-a.over:
			t.Error("Closed beside Receive")
		default:
		}
		close(gate)
		if reply := first.Reply(); reply.Err != nil {
			t.Errorf("first: %v", reply.Err)
		}
		p.Unknown()
		a.got(t, "first")
		wantCause(t, a, engineio.ErrTransport)
		check()
	})
}

// wantCause waits for the end of the session.
func wantCause(t *testing.T, a *app, want error) {
	t.Helper()
	select {
	case err := <-a.over:
		if !errors.Is(err, want) {
			t.Errorf("closed with %v, want %v", err, want)
		}
	case <-time.After(time.Minute):
		t.Fatal("not closed")
	}
}

func TestAbortedPoll(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		check := r.neighbour()
		p := r.Open("")
		poll := p.Poll()
		synctest.Wait()
		poll.Abort()
		wantCause(t, r.app(p.SID), engineio.ErrTransport)
		p.Unknown()
		check()
	})
}

// stopped is a body of which only the beginning comes.
type stopped struct {
	io.Reader
	stop chan struct{}
}

func (s *stopped) Read(b []byte) (int, error) {
	n, err := s.Reader.Read(b)
	if errors.Is(err, io.EOF) {
		<-s.stop
	}
	return n, err
}

// A POST that ends in the middle hands over nothing, and the session goes on.
func TestAbortedPost(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		p := r.Open("")
		body := &stopped{strings.NewReader("4half"), make(chan struct{})}
		req := p.Request(http.MethodPost, p.Query(), body)
		req.ContentLength = 100
		post := p.Begin(req)
		synctest.Wait()
		close(body.stop) // too short: the client gives up and closes
		if reply := post.Reply(); reply.Err == nil {
			t.Fatalf("answered %d", reply.Status)
		}
		r.app(p.SID).got(t)
		r.lives(p)
	})
}

func TestMaxPayload(t *testing.T) {
	const limit = 1000
	for name, chunked := range map[string]bool{"with a length": false, "in chunks": true} {
		t.Run(name, func(t *testing.T) {
			// Over TCP: a refused body is heard out there before the close.
			r := newRig(t, engineio.Options{MaxPayload: limit}, engineiotest.TCP)
			p := r.Open("")
			post := func(packets ...string) engineiotest.Reply {
				var body io.Reader = strings.NewReader(joined(packets...))
				if chunked {
					body = io.MultiReader(body)
				}
				req := p.Request(http.MethodPost, p.Query(), body)
				if chunked != (req.ContentLength <= 0) {
					t.Fatalf("length %d", req.ContentLength)
				}
				return p.Begin(req).Reply()
			}
			most := strings.Repeat("x", limit-len("4a\x1e4"))
			post("4a", "4"+most).Is(t, 200, "ok")
			post("4a", "4"+most+"x").Is(t, 413, "")
			post("4"+strings.Repeat("\u20ac", limit/3+1)).Is(t, 413, "") // bytes count, not characters
			r.app(p.SID).got(t, "a", most)
			r.lives(p)
		})
	}
}

func TestOctetStreamIsRefused(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		p := r.Open("")
		poll := p.Poll()
		synctest.Wait()
		req := p.Request(http.MethodPost, p.Query(), strings.NewReader("4a"))
		req.Header.Set("Content-Type", "application/octet-stream")
		p.Begin(req).Reply().Is(t, 400, "")
		poll.Reply().Is(t, 200, "1")
		p.Unknown()
		r.app(p.SID).got(t)
	})
}

// TestBadPayloads: what stands before the bad packet is handled, what follows is
// not; the session ends, and no other one.
func TestBadPayloads(t *testing.T) {
	for name, tc := range map[string]struct {
		body string
		got  []string
	}{
		"unknown type":            {body: "abc"},
		"after good ones":         {body: joined("4one", "bdHdv", "x", "4three"), got: []string{"one", "binary:two"}},
		"empty body":              {body: ""},
		"empty packet":            {body: joined("4one", "", "4three"), got: []string{"one"}},
		"empty packet at the end": {body: joined("4one", ""), got: []string{"one"}},
		"only a separator":        {body: "\x1e"},
		"digits beyond":           {body: "7"},
		"a NUL":                   {body: "\x00"},
		"binary garbage":          {body: "\xff\xfe\xfd"},
		"a ping of the client":    {body: joined("4one", "2"), got: []string{"one"}},
		"a probe on polling":      {body: "2probe"},
		"more than 1000":          {body: joined(append(many(600, "6"), many(500, "4x")...)...)},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
				check := r.neighbour()
				p := r.Open("")
				poll := p.Poll()
				synctest.Wait()
				reply := p.Begin(p.Request(http.MethodPost, p.Query(), strings.NewReader(tc.body))).Reply()
				reply.Is(t, 400, "")
				poll.Reply().Is(t, 200, "1")
				p.Unknown()
				r.app(p.SID).got(t, tc.got...)
				check()
			})
		})
	}
}

func TestHarmlessPackets(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		p := r.Open("")
		p.Sent("0", "3", "3probe", "5", "6", "6x", "4a")
		p.Sent("b!A?Q=I-D_B=A", "bQ") // base64 is read leniently
		r.app(p.SID).got(t, "a", "binary:\x01\x02>\x0f\xf0@", "binary:")
		r.lives(p)
	})
}

// A payload may have as many packets as the limits on a burst allow, and a stranger
// no more; time gives the budget back.
func TestFlood(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		check := r.neighbour()
		p := r.Open("")
		p.Sent(many(500, "4x")...)
		time.Sleep(2 * time.Second)
		p.Sent(many(200, "4x")...)
		p.Post(many(5, "4y")...).Is(t, 400, "")
		p.Unknown()
		r.app(p.SID).got(t, many(700, "x")...)
		wantCause(t, r.app(p.SID), engineio.ErrFlood)
		check()

		ws, h := r.OpenWebSocket("")
		for range 501 {
			ws.Send("4x")
		}
		if code := ws.Ended(); code != 0 {
			t.Errorf("code %d", code)
		}
		r.app(h.SID).got(t, many(500, "x")...)
		check()
	})
}

// An error of the application ends its session alone.
func TestAnErrorOfTheApplication(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		broken := errors.New("broken")
		r.prepare = func(a *app) {
			a.onReceive = func(m engineio.Message) error {
				if string(m.Data) == "bad" {
					return broken
				}
				return nil
			}
		}
		check := r.neighbour()
		p := r.Open("")
		p.Post("4good", "4bad", "4never").Is(t, 400, "")
		r.app(p.SID).got(t, "good", "bad")
		wantCause(t, r.app(p.SID), broken)
		ws, h := r.OpenWebSocket("")
		ws.Send("4bad")
		ws.Ended()
		wantCause(t, r.app(h.SID), broken)
		check()
	})
}

// Each answer holds about maxPayload at most; the rest follows in order.
func TestABacklogComesInPieces(t *testing.T) {
	inBubble(t, engineio.Options{MaxPayload: 10_000}, func(t *testing.T, r *rig) {
		p := r.Open("")
		var want []string
		for i := range 100 {
			want = append(want, string(rune('A'+i%26))+strings.Repeat("x", 999))
		}
		r.app(p.SID).send(want...)
		var got []string
		for len(got) < len(want) {
			reply := p.Get()
			if len(reply.Body) > 11_100 {
				t.Fatalf("%d bytes in one answer", len(reply.Body))
			}
			for packet := range strings.SplitSeq(reply.Body, "\x1e") {
				got = append(got, packet[1:])
			}
		}
		if joined(got...) != joined(want...) {
			t.Error("not in order")
		}
	})
}

// b64=1 is for clients that cannot take binary.
func TestBase64(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		r.prepare = func(a *app) { a.echo = true }
		p := r.Open("&b64=1")
		p.Sent("bAAE=")
		p.Gets("bAAE=")
		ws := p.Probe()
		ws.Send("2probe", "5")
		ws.Gets("3probe")
		ws.Send("bAAE=")
		ws.Gets("bAAE=")

		ws, _ = r.OpenWebSocket("&b64=1")
		ws.Send("b/w==")
		ws.Gets("b/w==")

		ws, _ = r.OpenWebSocket("")
		ws.Send("bAAE=")
		ws.GetsBinary("\x00\x01")
	})
}

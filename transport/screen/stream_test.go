package screen

import (
	"bytes"
	"io"
	"log/slog"
	"mime/multipart"
	"net"
	"net/http/httputil"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobcast/jobcast/transport/wire"
)

// film is a Look at frames that are numbered by their bytes.
type film struct {
	stream *stream

	mu     sync.Mutex // guards what follows
	number int
	over   bool

	closed chan struct{}
}

const frameBytes = 200_000 // more than a turn sends

func (f *film) Newest() ([]byte, int, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.number == 0 {
		return nil, 0, f.over
	}
	return bytes.Repeat([]byte{byte(f.number)}, frameBytes), f.number, f.over
}

func (f *film) Close() { close(f.closed) }

// turn shows the next frames, the last of them for longer.
func (f *film) turn(n int, over bool) {
	f.mu.Lock()
	f.number += n
	f.over = over
	f.mu.Unlock()
	f.stream.conn.Wake()
}

// project shows a film to a peer, which reads what is returned.
func project(t *testing.T, chunked bool) (*film, *wire.Pool, *multipart.Reader, net.Conn) {
	f := &film{closed: make(chan struct{})}
	f.stream = &stream{
		h: New(Options{Log: slog.New(slog.DiscardHandler)}), boundary: "b", look: f, chunked: chunked, head: []byte("HTTP/1.1 200 OK\r\n"),
		release: func() {}, id: "x",
	}
	pool := wire.NewPool(wire.Options{})
	t.Cleanup(pool.Close)
	ours, theirs := net.Pipe()
	f.stream.conn.Attach(pool.Add(ours, f.stream))
	var head [1]byte
	var lines []byte
	for !bytes.HasSuffix(lines, []byte("\r\n\r\n")) {
		if _, err := theirs.Read(head[:]); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, head[0])
	}
	var body io.Reader = theirs
	if chunked {
		body = httputil.NewChunkedReader(theirs)
	}
	return f, pool, multipart.NewReader(body, "b"), theirs
}

// next reads a picture, and returns which one it is; 0 at the end.
func next(t *testing.T, r *multipart.Reader) int {
	t.Helper()
	part, err := r.NextPart()
	if err == io.EOF {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	frame, err := io.ReadAll(part)
	if err != nil || len(frame) != frameBytes || bytes.Count(frame, frame[:1]) != frameBytes || part.Header.Get("Content-Type") != "image/jpeg" {
		t.Fatalf("a frame of %d bytes, %v, %v", len(frame), part.Header, err)
	}
	return int(frame[0])
}

// TestSlow: a looker that is slow gets whole frames, and the newest one next; the end of the
// browser ends the body; one that takes nothing is cut.
func TestSlow(t *testing.T) {
	for _, chunked := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			f, _, r, _ := project(t, chunked)
			f.turn(1, false)
			synctest.Wait()
			f.turn(50, false)
			synctest.Wait()
			if a, b := next(t, r), next(t, r); a != 1 || b != 51 {
				t.Errorf("frames %d and %d, want the one begun and the newest", a, b)
			}
			if _, err := r.NextPart(); err != nil { // browsers show a frame when they have seen the next one's head
				t.Error(err)
			}
			f.turn(1, false)
			synctest.Wait()
			f.turn(0, true)
			if last, end := next(t, r), next(t, r); last != 52 || end != 0 {
				t.Errorf("it ends with frames %d and %d, want the last one again", last, end)
			}
			<-f.closed
		})
	}
	synctest.Test(t, func(t *testing.T) {
		f, _, _, _ := project(t, true)
		begin := time.Now()
		f.turn(1, false)
		<-f.closed
		if took := time.Since(begin); took < 10*time.Second || took > 13*time.Second {
			t.Errorf("a stalled looker was cut after %v", took)
		}
	})
}

// TestEnds: a stream ends whole when the server drains, in the middle of a frame too, and
// before the first one.
func TestEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, pool, r, _ := project(t, true)
		f.turn(1, false)
		synctest.Wait()
		go func() { _ = pool.Drain(t.Context(), func() time.Duration { return time.Second }) }()
		if a, b, c := next(t, r), next(t, r), next(t, r); a != 1 || b != 1 || c != 0 {
			t.Errorf("frames %d, %d, %d, want the one begun, once more, and no other", a, b, c)
		}
		synctest.Wait()
	})
	synctest.Test(t, func(t *testing.T) {
		f, _, _, peer := project(t, false)
		f.stream.End(nil)
		if rest, err := io.ReadAll(peer); err != nil || string(rest) != "\r\n--b--\r\n" {
			t.Errorf("the body is %q, %v", rest, err)
		}
		synctest.Wait()
	})
}

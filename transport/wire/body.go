package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"strconv"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// Errors of reading a body, beside those of the socket.
var (
	ErrBodyTooLarge = errors.New("wire: the body is larger than allowed")
	ErrBodyBroken   = errors.New("wire: the body ended early, or its chunks are malformed")
	ErrDisplaced    = errors.New("wire: the body was dropped to make room for others")

	errCoding     = errors.New("wire: the body has a transfer coding other than chunked")
	errUnprepared = errors.New("wire: the connection of this request was not accepted by a Guard")
)

const (
	// bodyCost is what a body that has yet to come costs beside its bytes: a goroutine
	// and the server's objects.
	bodyCost = 16 << 10
	// maxTrailer bounds what follows the last chunk.
	maxTrailer = 4 << 10
	// maxDropped bounds the body of a request that has none by its method.
	maxDropped = 64 << 10
)

// body is what of a request follows its head.
type body struct {
	left    int64 // bytes that are not read yet; negative: it comes in chunks; 0: none
	expects bool  // the peer waits for "100 Continue"
	chunks  io.Reader
	buf     *bufio.Reader // below chunks
}

// Names under which a request's head says what the server must not see. No request can
// carry them, because a field's name cannot begin with a colon.
const (
	fieldLength = ":length"
	fieldExpect = ":expect"
	fieldCoding = ":coding"
)

const continued = "HTTP/1.1 100 Continue\r\n\r\n"

// Prepare makes a server run its handler when it has read a request's head. Whether the
// body is wanted, and who may send one, is the handler's to say: it reads it with
// ReadBody or BodyReader, and until then nothing of it is read, no memory is taken for it,
// and "100 Continue" is not sent. After a handler that has left a body unread, and after
// a head that the server refuses, the connection is closed, but not before the peer could
// read the answer. A transfer coding other than chunked is such a head: nobody knows where
// its body ends (RFC 9112 6.3). Connections must come from a Guard.
func Prepare(s *fasthttp.Server) *Handlers {
	handler, h := s.Handler, &Handlers{}
	s.ConnState = noteState
	s.HeaderReceived = hide
	refuse := s.ErrorHandler
	if refuse == nil {
		refuse = func(rc *fasthttp.RequestCtx, _ error) { rc.SetStatusCode(fasthttp.StatusBadRequest) }
	}
	s.ErrorHandler = func(rc *fasthttp.RequestCtx, err error) {
		if c, ok := rc.Conn().(*Incoming); ok && !isTimeout(err) { // the peer may be in the middle of what it sends
			c.lingers.Store(true)
		}
		refuse(rc, err)
	}
	s.Handler = func(rc *fasthttp.RequestCtx) {
		h.running.RLock()
		defer h.running.RUnlock()
		if rc.Request.Header.Peek(fieldCoding) != nil {
			rc.SetConnectionClose()
			s.ErrorHandler(rc, errCoding)
			return
		}
		c, ok := rc.Conn().(*Incoming)
		if !ok {
			if rc.Request.Header.Peek(fieldLength) != nil { // what follows is no request
				rc.SetConnectionClose()
			}
			handler(rc)
			return
		}
		c.begin(&rc.Request.Header)
		if m := rc.Request.Header.Method(); c.body.left != 0 && (string(m) == fasthttp.MethodGet || string(m) == fasthttp.MethodHead) {
			c.drop()
		}
		handler(rc)
		if c.body.left != 0 && !rc.Hijacked() && !c.forgo() {
			rc.SetConnectionClose()
			c.lingers.Store(true)
		}
	}
	return h
}

// Handlers are the runs of a prepared server's handler.
type Handlers struct {
	running sync.RWMutex // held for reading by each run
}

// Wait returns when no handler runs. Who does not want to wait for peers cuts their
// connections before.
func (h *Handlers) Wait() {
	h.running.Lock()
	h.running.Unlock() //nolint:gocritic,staticcheck // it is waited for, no more
}

// hide keeps the server from reading a body.
func hide(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	n := h.ContentLength()
	if n != -1 && coded(h.RawHeaders()) {
		h.SetCanonical([]byte(fieldCoding), []byte("1"))
	}
	some := n == -1 || n > 0
	if some {
		h.SetContentLength(0)
		h.SetCanonical([]byte(fieldLength), strconv.AppendInt(nil, int64(n), 10))
	}
	if h.IsHTTP11() && bytes.EqualFold(h.Peek(fasthttp.HeaderExpect), []byte("100-continue")) {
		h.Del(fasthttp.HeaderExpect)
		if some {
			h.SetCanonical([]byte(fieldExpect), []byte("1"))
		}
	}
	return fasthttp.RequestConfig{}
}

// coded reports whether a head names a transfer coding. Of all there are the server takes
// chunked and, as if it were none, identity.
func coded(raw []byte) bool {
	for line := range bytes.SplitSeq(raw, []byte("\n")) {
		name, _, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte(fasthttp.HeaderTransferEncoding)) {
			return true
		}
	}
	return false
}

// begin reads what hide has noted.
func (c *Incoming) begin(h *fasthttp.RequestHeader) {
	c.body = body{expects: len(h.Peek(fieldExpect)) > 0}
	if text := h.Peek(fieldLength); text != nil {
		c.body.left, _ = strconv.ParseInt(string(text), 10, 64) // hide has written it
	}
}

// forgo does without a body that nobody has read, if it is here already.
func (c *Incoming) forgo() bool {
	if n := c.body.left; n < 0 || n > int64(len(c.ahead)) {
		return false
	}
	c.skip(int(c.body.left))
	c.body.left = 0
	return true
}

// drop reads a body that means nothing, unless it is large.
func (c *Incoming) drop() {
	if c.body.left > maxDropped || c.body.expects {
		return
	}
	_, _ = io.CopyN(io.Discard, bodyReader{c}, maxDropped) // what is left or broken is seen in body.left
}

// BodyLength returns the length of the request's body, as far as it was not read: 0 if
// there is none, -1 if it is not known.
func BodyLength(rc *fasthttp.RequestCtx) int64 {
	if c, ok := rc.Conn().(*Incoming); ok {
		return c.body.left
	}
	return int64(len(rc.Request.Body()))
}

// Invites reports whether reading the request's body sends "100 Continue" first.
func Invites(rc *fasthttp.RequestCtx) bool {
	c, ok := rc.Conn().(*Incoming)
	return ok && c.body.expects && len(c.ahead) == 0
}

// BodyReader returns the request's body as it comes. Of a body that ends before its time
// it returns ErrBodyBroken.
func BodyReader(rc *fasthttp.RequestCtx) io.Reader {
	switch c, ok := rc.Conn().(*Incoming); {
	case ok:
		return bodyReader{c}
	case rc.Request.Header.Peek(fieldLength) != nil:
		return failedReader{errUnprepared}
	}
	return bytes.NewReader(rc.Request.Body())
}

type failedReader struct{ err error }

func (f failedReader) Read([]byte) (int, error) { return 0, f.err }

// bodyReader reads the body of the request at hand.
type bodyReader struct{ c *Incoming }

func (r bodyReader) Read(p []byte) (n int, err error) {
	b := &r.c.body
	if b.left == 0 || len(p) == 0 {
		return 0, io.EOF
	}
	if err := r.c.invite(); err != nil {
		return 0, err
	}
	if b.left < 0 {
		return r.c.readChunks(p)
	}
	n, err = r.c.next(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	switch {
	case b.left == 0:
		return n, nil
	case errors.Is(err, io.EOF):
		err = ErrBodyBroken
	}
	return n, err
}

// invite sends "100 Continue" to a peer that waits for it.
func (c *Incoming) invite() error {
	if !c.body.expects {
		return nil
	}
	c.body.expects = false
	if len(c.ahead) > 0 { // it has not waited (RFC 9110 10.1.1); see Invites
		return nil
	}
	_, err := c.Conn.Write([]byte(continued))
	return err
}

func (c *Incoming) readChunks(p []byte) (int, error) {
	b := &c.body
	if b.chunks == nil {
		b.buf = bufio.NewReaderSize(follower{c}, maxTrailer)
		b.chunks = httputil.NewChunkedReader(b.buf)
	}
	n, err := b.chunks.Read(p)
	if errors.Is(err, io.EOF) {
		if err = b.trailer(); err == nil {
			rest, _ := b.buf.Peek(b.buf.Buffered()) // it holds as much
			c.unread(rest)
			*b = body{}
			return n, io.EOF
		}
	}
	if err != nil && !isTimeout(err) {
		err = fmt.Errorf("%w: %w", ErrBodyBroken, err)
	}
	return n, err
}

// trailer reads what follows the last chunk, up to the blank line, and drops it.
func (b *body) trailer() error {
	for left := maxTrailer; ; {
		line, err := b.buf.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		if left -= len(line); left < 0 {
			return bufio.ErrBufferFull
		}
		if string(line) == "\r\n" {
			return nil
		}
	}
}

// follower reads what follows a head.
type follower struct{ c *Incoming }

func (f follower) Read(p []byte) (int, error) { return f.c.next(p) }

// ReadBody returns the whole body of a request, of at most limit bytes. Its memory grows
// with what arrives. While it arrives it is a share of what bodies may take, for holder;
// a body that is here already is none. Errors: ErrBodyTooLarge, at once if the body is
// said to be larger; ErrBodyBroken; ErrDisplaced; the socket's, such as a time-out.
func ReadBody[K comparable](rc *fasthttp.RequestCtx, limit int, s *Shares[K], holder K) ([]byte, error) {
	c, ok := rc.Conn().(*Incoming)
	if !ok {
		return readAll(BodyReader(rc), 0, limit, func(int) {})
	}
	left := c.body.left
	switch {
	case left == 0:
		return nil, nil
	case left > int64(limit):
		return nil, ErrBodyTooLarge
	case left > 0 && left <= int64(len(c.ahead)):
		all := bytes.Clone(c.ahead[:left])
		c.forgo()
		return all, nil
	}
	d := displacement{conn: c.Conn}
	share := s.Take(holder, bodyCost, d.displace)
	defer share.Release()
	all, err := readAll(bodyReader{c}, int(left), limit, func(n int) { share.Grow(int64(n)) })
	if d.over() && err != nil {
		err = ErrDisplaced
	}
	return all, err
}

// displacement is the end of reading a body that has to make room. It may come too
// late, and then does nothing to the request that follows.
type displacement struct {
	conn net.Conn

	mu        sync.Mutex // guards the fields below
	displaced bool
	read      bool // the reading is over
}

func (d *displacement) displace() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.read {
		d.displaced = true
		_ = d.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// over says that the reading is over, and reports whether it had to end.
func (d *displacement) over() (displaced bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.read = true
	return d.displaced
}

// readAll reads at most limit bytes; grown is told of the memory that it takes. left is
// what there is to come, if that is known.
func readAll(r io.Reader, left, limit int, grown func(bytes int)) ([]byte, error) {
	const first = 512
	all := make([]byte, 0, first)
	for {
		if len(all) == cap(all) {
			more := 2 * cap(all)
			if left > 0 {
				more = min(more, left)
			}
			grown(more - cap(all))
			all = append(make([]byte, 0, more), all...)
		}
		n, err := r.Read(all[len(all):cap(all)])
		all = all[:len(all)+n]
		switch {
		case len(all) > limit:
			return nil, ErrBodyTooLarge
		case errors.Is(err, io.EOF), err == nil && left > 0 && len(all) == left:
			return all, nil
		case err != nil:
			return nil, err
		}
	}
}

package wire

import (
	"net"
	"slices"
	"strconv"
	"time"
	"unique"

	"github.com/valyala/fasthttp"
)

// Hijacked is a request that has left the HTTP server.
type Hijacked struct {
	Conn   net.Conn
	Early  []byte // what the peer sent after its request
	HTTP11 bool   // the peer speaks HTTP/1.1, so a body of unknown length is sent in chunks
	Keep   bool   // the peer wants to use the connection again
	// Request is the whole request as it was sent. It is known if the connection has
	// been parked before, if this is the first request since, and if it came in one
	// piece with nothing behind it; else it is nil.
	Request []byte

	common unique.Handle[string] // header lines that most answers share, kept once for all of them
	own    []byte                // the other ones
}

// Head returns a status line and all header lines that the handler and the
// middlewares around it have set. The caller adds what depends on the body
// (Content-Length or Transfer-Encoding, and Connection) and the blank line.
func (h *Hijacked) Head(status int, contentType string) []byte {
	return h.appendHead(make([]byte, 0, len(h.common.Value())+len(h.own)+96), status, contentType)
}

func (h *Hijacked) appendHead(dst []byte, status int, contentType string) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = fasthttp.AppendUint(dst, status)
	dst = append(dst, ' ')
	dst = append(dst, fasthttp.StatusMessage(status)...)
	dst = append(dst, "\r\nDate: "...)
	dst = fasthttp.AppendHTTPDate(dst, time.Now())
	dst = append(dst, "\r\nContent-Type: "...)
	dst = append(dst, contentType...)
	dst = append(dst, "\r\n"...)
	dst = append(dst, h.common.Value()...)
	return append(dst, h.own...)
}

// Renew gives the answer to a request that is the same as this one a request id of
// its own.
func (h *Hijacked) Renew(requestID string) {
	h.own = append(h.own[:0], headerRequestID+": "+requestID+"\r\n"...)
}

// Respond appends a whole answer of known length: extra is header lines, each with
// its end. It returns Reuse if the peer wants to use the connection again and
// reuse allows it, else Close.
func (h *Hijacked) Respond(dst []byte, status int, contentType, extra string, body []byte, reuse bool) ([]byte, Next) {
	next, connection := Close, "close"
	if h.Keep && reuse {
		next, connection = Reuse, "keep-alive"
	}
	dst = h.appendHead(dst, status, contentType)
	dst = append(dst, extra...)
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(body)), 10)
	dst = append(dst, "\r\nConnection: "...)
	dst = append(dst, connection...)
	dst = append(dst, "\r\n\r\n"...)
	return append(dst, body...), next
}

// AppendChunk appends body as one chunk (RFC 9112 7.1). An empty body is none, because an
// empty chunk would be the last.
func AppendChunk(dst, body []byte) []byte {
	if len(body) == 0 {
		return dst
	}
	dst = slices.Grow(dst, len(body)+12)
	dst = strconv.AppendInt(dst, int64(len(body)), 16)
	dst = append(dst, "\r\n"...)
	dst = append(dst, body...)
	return append(dst, "\r\n"...)
}

// LastChunk ends a chunked body cleanly; without it curl reports a cut.
const LastChunk = "0\r\n\r\n"

// Hijack lets the handler's response be sent by take, which runs once the
// handler and all middlewares have returned, and owns the connection from then
// on. If the connection cannot be taken it is closed and take gets nil.
// The server must have KeepHijackedConns set.
func Hijack(ctx *fasthttp.RequestCtx, take func(*Hijacked)) {
	http11 := ctx.Request.Header.IsHTTP11()
	keep := http11 && !ctx.Request.Header.ConnectionClose() && BodyLength(ctx) == 0 // what is left of a body is no request
	back, _ := ctx.Conn().(*Incoming)
	first := ctx.ConnRequestNum() == 1
	// Without this the handler would not run at all for HTTP/1.0 and for
	// requests with Connection: close.
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(hc net.Conn) {
		defer func() {
			if recover() != nil { // nothing above would catch it; the connection is lost, not the process
				_ = hc.Close()
			}
		}()
		common, own := headers(&ctx.Response.Header)
		nc, early, err := Take(hc)
		if err != nil {
			_ = hc.Close()
			take(nil)
			return
		}
		hj := &Hijacked{Conn: nc, Early: early, HTTP11: http11, Keep: keep, common: unique.Make(string(common)), own: own}
		if back != nil && first && len(early) == 0 && back.request != nil {
			hj.Request = back.request
		}
		take(hj)
	})
}

// Headers returns the header lines of h that do not depend on what follows.
func Headers(h *fasthttp.ResponseHeader) []byte {
	common, own := headers(h)
	return append(common, own...)
}

// headers is Headers in two parts: own is what differs from answer to answer.
func headers(h *fasthttp.ResponseHeader) (common, own []byte) {
	common = make([]byte, 0, 512)
	for key, value := range h.All() {
		switch string(key) { // as fasthttp writes it
		case fasthttp.HeaderContentLength, fasthttp.HeaderContentType, fasthttp.HeaderTransferEncoding,
			fasthttp.HeaderConnection, fasthttp.HeaderDate:
		case headerRequestID:
			own = appendLine(own, key, value)
		default:
			common = appendLine(common, key, value)
		}
	}
	return common, own
}

const headerRequestID = "X-Request-Id"

func appendLine(dst, key, value []byte) []byte {
	dst = slices.Grow(dst, len(key)+len(value)+4)
	dst = append(dst, key...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

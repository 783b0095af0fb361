package rest

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
)

const (
	// lingerTime and lingerBytes bound what is read after an answer, so that a
	// sender which was refused in the middle of its body gets to see why.
	lingerTime  = 2 * time.Second
	lingerBytes = 16 << 20
)

// Uploads lets the bodies of artifact uploads be read as they arrive, and no
// other body. fasthttp can stream the bodies of all requests of a server or of
// none; with all, small bodies too would escape the server's limit on their
// size and keep their buffers while a connection idles. So an upload is noticed
// when its head was read, and its connection is handed, head and all, to a
// second server that serves this one request with the same handler.
type Uploads struct {
	server *fasthttp.Server

	mu    sync.Mutex // guards conns and shut
	conns map[net.Conn]struct{}
	shut  bool
	open  sync.WaitGroup // one for each connection in conns; grows only while shut is false
}

// StreamUploads prepares an application whose routes Mount adds. It is called
// before the application serves.
func StreamUploads(app *fiber.App) *Uploads {
	main := app.Server()
	handler := main.Handler
	u := &Uploads{conns: make(map[net.Conn]struct{}), server: &fasthttp.Server{
		Handler:                      handler,
		ErrorHandler:                 main.ErrorHandler,
		Logger:                       main.Logger,
		Name:                         main.Name,
		NoDefaultServerHeader:        main.NoDefaultServerHeader,
		ReadTimeout:                  main.ReadTimeout,
		ReadBufferSize:               main.ReadBufferSize,
		MaxRequestBodySize:           jobs.MaxArtifactBytes,
		MaxRequestsPerConn:           1,
		StreamRequestBody:            true,
		DisablePreParseMultipartForm: true,
	}}
	main.HeaderReceived = func(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
		if isUpload(h) {
			h.SetContentLength(0) // for this server there is no body
			h.Del(fasthttp.HeaderExpect)
		}
		return fasthttp.RequestConfig{}
	}
	main.Handler = func(rc *fasthttp.RequestCtx) {
		if isUpload(&rc.Request.Header) {
			u.divert(rc)
			return
		}
		handler(rc)
	}
	return u
}

// isUpload reports whether a request's body is to become an artifact.
func isUpload(h *fasthttp.RequestHeader) bool {
	if string(h.Method()) != fasthttp.MethodPut {
		return false
	}
	path, _, _ := strings.Cut(string(transport.PlainTarget(h.RequestURI())), "?")
	rest, ok := strings.CutPrefix(path, "/v1/jobs/")
	if !ok {
		return false
	}
	_, name, ok := strings.Cut(rest, "/artifacts/")
	return ok && name != ""
}

// divert gives a request's connection to the second server.
func (u *Uploads) divert(rc *fasthttp.RequestCtx) {
	h := &rc.Request.Header
	var head bytes.Buffer
	head.Write(h.Method())
	head.WriteByte(' ')
	head.Write(h.RequestURI())
	head.WriteByte(' ')
	head.Write(h.Protocol())
	head.WriteString("\r\n")
	head.Write(h.RawHeaders())
	rc.HijackSetNoResponse(true)
	rc.Hijack(func(nc net.Conn) {
		conn := &upload{Conn: nc, r: io.MultiReader(&head, nc)}
		if !u.enter(conn) {
			_ = nc.Close()
			return
		}
		defer u.leave(conn)
		defer func() {
			if recover() != nil { // the gate has caught and logged what a handler does
				_ = nc.Close()
			}
		}()
		_ = u.server.ServeConn(conn) // its error is the connection's end
	})
}

func (u *Uploads) enter(c net.Conn) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.shut {
		return false
	}
	u.conns[c] = struct{}{}
	u.open.Add(1)
	return true
}

func (u *Uploads) leave(c net.Conn) {
	u.mu.Lock()
	delete(u.conns, c)
	u.mu.Unlock()
	u.open.Done()
}

// Close takes no further upload and waits for those under way; when ctx ends,
// they are cut.
func (u *Uploads) Close(ctx context.Context) {
	u.mu.Lock()
	u.shut = true
	u.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		for c := range u.conns {
			_ = c.(*upload).Conn.Close()
		}
	})
	defer stop()
	u.open.Wait()
}

// upload is a connection whose request was read once already.
type upload struct {
	net.Conn
	r io.Reader
}

func (u *upload) Read(p []byte) (int, error) { return u.r.Read(p) }

// Close lets the peer read the answer: a socket that is closed while its peer
// still sends is reset, and the answer lost.
func (u *upload) Close() error {
	if half, ok := socket(u.Conn).(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_ = u.SetReadDeadline(time.Now().Add(lingerTime))
		_, _ = io.CopyN(io.Discard, u, lingerBytes)
	}
	return u.Conn.Close()
}

// socket returns the connection below the server's wrapper.
func socket(nc net.Conn) net.Conn {
	if w, ok := nc.(interface{ UnsafeConn() net.Conn }); ok {
		return w.UnsafeConn()
	}
	return nc
}

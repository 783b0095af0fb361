package sse

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/transport"
	"github.com/jobcast/jobcast/transport/wire"
)

const (
	snapshotEvery = time.Second
	snapshotTime  = 5 * time.Second // how long a look may take
)

// Look says how something stands at the moment.
type Look = func(ctx context.Context) (any, error)

// Snapshots answers with a stream of what look returns: now, and once a second from then on,
// each as a frame of this name. Whoever is slow misses some. Streams of the same feed share
// each look. The stream is one of p's live streams, and ends like those of events.
func (h *Handler) Snapshots(c *fiber.Ctx, p auth.Principal, f transport.EventFormat, name, feed string, look Look) error {
	s := &snapshots{body: body{format: f}, h: h, who: p.Identity, opened: time.Now(), name: name, feed: feed}
	if err := h.admitSnapshots(s, p, look); err != nil {
		s.Closed(nil)
		return Refuse(c, err)
	}
	setHeaders(c, f)
	if c.Method() == fiber.MethodHead {
		s.Closed(nil)
		return nil
	}
	s.id = transport.RequestID(c)
	h.follow(s, look)
	wire.Hijack(c.Context(), func(hj *wire.Hijacked) { h.take(hj, s, &s.body, s.admission, &s.conn) })
	return nil
}

// admitSnapshots takes a stream's slot, and looks for its first frame.
func (h *Handler) admitSnapshots(s *snapshots, p auth.Principal, look Look) (err error) {
	if s.admission, err = transport.OpenStream(context.Background(), h.opt.Streams, p, s.format.Kind()); err != nil {
		return err
	}
	if err := h.opt.Door.Admit(); err != nil {
		return err
	}
	data, err := see(look)
	if err != nil {
		return err
	}
	if s.format == transport.EventStream {
		s.intro = appendRetry(nil, minRetry)
	}
	s.intro = s.appendFrame(s.intro, snapshotFrame(s.name, data))
	return nil
}

// see looks once. A panic costs this look, not the process.
func see(look Look) (_ json.RawMessage, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), snapshotTime)
	defer cancel()
	now, err := look(ctx)
	if err != nil {
		return nil, err
	}
	return json.Marshal(now)
}

// snapshotFrame has an id, so that an EventSource that comes back says that it does.
func snapshotFrame(name string, data json.RawMessage) transport.Frame {
	return transport.Frame{Event: name, Cursor: strconv.FormatInt(time.Now().UnixMilli(), 10), Data: data}
}

// feed is what several streams watch.
type feed struct {
	look    Look
	streams map[*snapshots]struct{} // guarded by Handler.mu
	timer   *time.Timer
}

// follow lets a stream have what comes.
func (h *Handler) follow(s *snapshots, look Look) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.feeds[s.feed]
	if f == nil {
		f = &feed{look: look, streams: make(map[*snapshots]struct{})}
		h.feeds[s.feed] = f
		f.timer = time.AfterFunc(snapshotEvery, func() { h.tick(s.feed, f) })
	}
	f.streams[s] = struct{}{}
}

// unfollow is called once a stream has ended. The last one ends its feed.
func (h *Handler) unfollow(s *snapshots) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.feeds[s.feed]
	if f == nil {
		return
	}
	delete(f.streams, s)
	if len(f.streams) == 0 {
		f.timer.Stop()
		delete(h.feeds, s.feed)
	}
}

// tick looks for all that follow a feed. What cannot be looked at now is looked at a second
// later.
func (h *Handler) tick(name string, f *feed) {
	data, err := see(f.look)
	if err != nil {
		h.opt.Log.Warn("a snapshot failed", "feed", name, "error", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.feeds[name] != f {
		return // nobody watches any more
	}
	for s := range f.streams {
		if err == nil {
			s.newest.Store(&data)
			s.conn.Wake()
		}
	}
	f.timer.Reset(snapshotEvery)
}

// snapshots is one response.
type snapshots struct {
	body
	h          *Handler
	id         string // the request's; empty: it was refused, or was a HEAD
	who        auth.Identity
	name, feed string
	opened     time.Time
	admission  *transport.Admission // nil until it is admitted
	sent       int64

	conn   wire.Ref
	newest atomic.Pointer[json.RawMessage] // what is to be sent; nil: nothing
	ended  atomic.Pointer[error]           // set by End
}

// ID implements transport.Live.
func (s *snapshots) ID() string { return s.id }

// End implements transport.Live: the stream ends with a problem.
func (s *snapshots) End(reason error) {
	s.ended.Store(&reason)
	s.conn.Wake()
}

// Watching implements transport.Live: it is in no room.
func (*snapshots) Watching() transport.Watching { return transport.Watching{} }

// Fill implements wire.Stream.
func (s *snapshots) Fill(buf []byte, _ int) ([]byte, wire.Next) {
	buf = s.begin(buf)
	if reason := s.ended.Load(); reason != nil {
		return s.finish(s.appendChunk(buf, transport.ProblemFrame(transport.FromError(*reason)))), wire.Close
	}
	if data := s.newest.Swap(nil); data != nil {
		buf = s.appendChunk(buf, snapshotFrame(s.name, *data))
		s.sent++
	}
	return buf, wire.Idle
}

// KeepAlive implements wire.Stream.
func (s *snapshots) KeepAlive(buf []byte) []byte {
	return s.appendChunk(buf, transport.PingFrame(time.Now()))
}

// Goodbye implements wire.Stream.
func (s *snapshots) Goodbye(buf []byte, retry time.Duration) []byte {
	return s.goodbye(s.begin(buf), retry, "")
}

// Closed implements wire.Stream.
func (s *snapshots) Closed(cause error) {
	if s.admission != nil {
		s.admission.Release()
	}
	if s.id == "" {
		return // it never began
	}
	s.h.unfollow(s)
	attrs := []any{
		"requestId", s.id, "transport", s.format.Kind(), "clientId", s.who.ClientID,
		"keyId", s.who.KeyID, "snapshots", s.sent, "duration", time.Since(s.opened),
	}
	if cause != nil {
		attrs = append(attrs, slog.String("cause", cause.Error()))
	}
	s.h.opt.Log.Info("stream ended", attrs...)
}

package transporttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/jobcast/jobcast/eventlog"
)

// Via says how a client of Engine.IO reaches the server.
type Via string

// The ways. The last begins like the first and ends as the second.
const (
	ViaPolling   Via = "polling"
	ViaWebSocket Via = "websocket"
	ViaUpgrade   Via = "upgrade"
)

// Packet types of Engine.IO, protocol 4.
const (
	packetOpen    = '0'
	packetClose   = '1'
	packetPing    = '2'
	packetPong    = '3'
	packetMessage = '4'
	packetUpgrade = '5'
	packetNoop    = '6'
)

// engine is a session of Engine.IO as its client has it. One goroutine reads.
type engine struct {
	ctx    context.Context
	cancel context.CancelFunc
	caller Caller
	hc     *http.Client
	sid    string
	queue  []string // packets that one answer brought
	mute   bool     // pings are not answered
	bye    bool     // the server has said that it goes
	probe  chan probed
	asking atomic.Bool // a GET is under way
	moving atomic.Bool // an upgrade is

	out sync.Mutex // one write at a time, and none while the transport changes
	ws  atomic.Pointer[frames]
}

// probed is the outcome of trying a WebSocket.
type probed struct {
	ws  *frames
	err error
}

// dialEngine makes the handshake.
func dialEngine(ctx context.Context, c Caller, how Via) (*engine, error) {
	ctx, cancel := context.WithCancel(ctx)
	e := &engine{ctx: ctx, cancel: cancel, caller: c, hc: c.Client()}
	var hello string
	var err error
	if how == ViaWebSocket {
		hello, err = e.helloSocket()
	} else {
		hello, err = e.helloPoll()
	}
	if err == nil {
		err = e.greeted(hello, how)
	}
	if err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

func (e *engine) helloSocket() (string, error) {
	ws, err := dialFrames(e.ctx, e.caller, e.path("websocket"), "")
	if err != nil {
		return "", err
	}
	e.ws.Store(ws)
	return e.frame(ws)
}

func (e *engine) helloPoll() (string, error) {
	if err := e.poll(); err != nil {
		return "", err
	}
	hello := e.queue[0]
	e.queue = e.queue[1:]
	return hello, nil
}

// greeted reads the open packet. The official client breaks if a member lacks.
func (e *engine) greeted(packet string, how Via) error {
	var h struct {
		SID                                   string
		Upgrades                              []string
		PingInterval, PingTimeout, MaxPayload int
	}
	if packet == "" || packet[0] != packetOpen {
		return fmt.Errorf("the session begins with %q", packet)
	}
	if err := json.Unmarshal([]byte(packet[1:]), &h); err != nil {
		return fmt.Errorf("open packet %q: %w", packet, err)
	}
	want := []string{"websocket"}
	if how == ViaWebSocket {
		want = []string{}
	}
	if h.SID == "" || h.Upgrades == nil || !slices.Equal(h.Upgrades, want) || h.PingInterval <= 0 || h.PingTimeout <= 0 || h.MaxPayload <= 0 {
		return fmt.Errorf("open packet %q", packet)
	}
	e.sid = h.SID
	return nil
}

func (e *engine) path(transport string) string {
	path := "/socket.io/?EIO=4&transport=" + transport
	if e.sid != "" {
		path += "&sid=" + e.sid
	}
	return path
}

// request makes one request of long-polling.
func (e *engine) request(method, body string) (string, error) {
	req, err := http.NewRequestWithContext(e.ctx, method, origin+e.path("polling"), strings.NewReader(body))
	if err != nil {
		return "", err
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "text/plain;charset=UTF-8")
	}
	resp, err := e.hc.Do(req)
	if err != nil {
		return "", err
	}
	if err := refused(resp); err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

// poll asks for packets and queues them.
func (e *engine) poll() error {
	e.asking.Store(true)
	defer e.asking.Store(false)
	body, err := e.request(http.MethodGet, "")
	if err != nil {
		return err
	}
	if body == "" {
		return errors.New("an empty answer, which is fatal to clients")
	}
	e.queue = strings.Split(body, "\x1e")
	if len(e.queue) > 1 && slices.Contains(e.queue, string(packetClose)) { // clients close first, and hand over the rest too late
		return fmt.Errorf("%w: a payload with a close and %q", ErrWire, e.queue[0])
	}
	for _, p := range e.queue {
		if len(p) > eventlog.MaxFrameBytes {
			return fmt.Errorf("%w: a packet of %d bytes", ErrWire, len(p))
		}
	}
	return nil
}

// send sends one packet.
func (e *engine) send(packet string) error {
	e.out.Lock()
	defer e.out.Unlock()
	if ws := e.ws.Load(); ws != nil {
		return ws.write(0x80|opText, []byte(packet))
	}
	answer, err := e.request(http.MethodPost, packet)
	if err == nil && answer != "ok" {
		err = fmt.Errorf("a POST was answered %q", answer)
	}
	return err
}

// upgrade begins to try a WebSocket; the reader moves to it when it is there.
func (e *engine) upgrade() {
	e.probe = make(chan probed, 1)
	e.moving.Store(true)
	go func() {
		ws, err := e.try()
		e.probe <- probed{ws, err}
	}()
}

func (e *engine) try() (*frames, error) {
	ws, err := dialFrames(e.ctx, e.caller, e.path("websocket"), "")
	if err != nil {
		return nil, err
	}
	if err = ws.write(0x80|opText, []byte("2probe")); err == nil {
		var packet string
		if packet, err = e.frame(ws); err == nil && packet != "3probe" {
			err = fmt.Errorf("the probe was answered %q", packet)
		}
	}
	if err != nil {
		ws.Close()
		return nil, err
	}
	return ws, nil
}

// move completes an upgrade whose probe was answered. No GET is under way,
// because the reader itself is here, and no POST, because of the lock. Without an
// upgrade the session goes on as it was.
func (e *engine) move(p probed) error {
	e.probe = nil
	defer e.moving.Store(false)
	if p.err != nil {
		return nil // clients say nothing of it; see upgraded
	}
	e.out.Lock()
	defer e.out.Unlock()
	e.ws.Store(p.ws)
	return p.ws.write(0x80|opText, []byte{packetUpgrade})
}

// frame reads one packet from a WebSocket.
func (e *engine) frame(ws *frames) (string, error) {
	for {
		op, payload, err := ws.frame()
		switch {
		case err != nil:
			return "", err
		case op == opText:
			return string(payload), nil
		case op != opPing && op != opPong:
			return "", fmt.Errorf("a frame of type %d", op)
		}
		if op == opPing {
			if err := ws.write(0x80|opPong, payload); err != nil {
				return "", err
			}
		}
	}
}

// packet returns the next packet, whatever it is.
func (e *engine) packet() (string, error) {
	for {
		if len(e.queue) > 0 {
			p := e.queue[0]
			e.queue = e.queue[1:]
			return p, nil
		}
		if ws := e.ws.Load(); ws != nil {
			return e.frame(ws)
		}
		var err error
		select {
		case p := <-e.probe:
			err = e.move(p)
		default:
			err = e.poll()
		}
		if err != nil && e.bye && !errors.Is(err, ErrWire) {
			return "", &closed{code: 1005, reason: err.Error()}
		}
		if err != nil {
			return "", err
		}
	}
}

// message returns the next message; beat is a sign of life instead of it.
func (e *engine) message() (text string, beat bool, err error) {
	for {
		p, err := e.packet()
		if err != nil {
			return "", false, err
		}
		if p == "" {
			return "", false, errors.New("an empty packet")
		}
		switch p[0] {
		case packetMessage:
			return p[1:], false, nil
		case packetPing:
			if !e.mute {
				err = e.send(string(packetPong))
			}
			return "", true, err
		case packetClose: // an end of long-polling; on WebSocket it means nothing to clients
			if e.ws.Load() == nil {
				return "", false, &closed{code: 1005, reason: "by a packet"}
			}
		case packetNoop:
		default:
			return "", false, fmt.Errorf("packet %q", p)
		}
	}
}

// reachable: the server can say something at any moment, and will notice at once
// if this client goes.
func (e *engine) reachable() bool {
	return !e.moving.Load() && (e.ws.Load() != nil || e.asking.Load())
}

func (e *engine) upgraded() bool { return e.ws.Load() != nil }

func (e *engine) close() {
	e.cancel()
	if ws := e.ws.Load(); ws != nil {
		ws.Close()
	}
	e.hc.CloseIdleConnections()
}

// stall never reads again: neither what comes on the WebSocket, nor the answer to
// a GET that it sends.
func (e *engine) stall() error {
	if e.probe != nil {
		if err := e.move(<-e.probe); err != nil {
			return err
		}
	}
	if ws := e.ws.Load(); ws != nil {
		slow(ws.nc)
		return nil
	}
	nc, err := e.caller.Dial(e.ctx)
	if err != nil {
		return err
	}
	slow(nc)
	context.AfterFunc(e.ctx, func() { _ = nc.Close() })
	_, err = fmt.Fprintf(nc, "GET %s HTTP/1.1\r\nHost: jobcast.test\r\n\r\n", e.path("polling"))
	return err
}

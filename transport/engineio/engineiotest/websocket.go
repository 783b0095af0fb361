package engineiotest

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// WebSocket is the client's end of one.
type WebSocket struct {
	t    T
	conn net.Conn
	in   *bufio.Reader
}

// Upgrade makes the request of a WebSocket handshake.
func (c *Client) Upgrade(query string) *http.Request {
	req := c.Request(http.MethodGet, query, nil)
	for k, v := range map[string]string{
		"Connection": "keep-alive, Upgrade", "Upgrade": "websocket", // as some browsers say it
		"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
	} {
		req.Header.Set(k, v)
	}
	return req
}

// WebSocket opens one; anything but 101 is fatal.
func (c *Client) WebSocket(query string) *WebSocket {
	c.T.Helper()
	ws, r := c.TryWebSocket(c.Upgrade(query))
	if ws == nil {
		c.T.Fatalf("WebSocket handshake answered %d %q %v", r.Status, r.Body, r.Err)
	}
	return ws
}

// TryWebSocket sends a handshake; without a 101 it returns the answer.
func (c *Client) TryWebSocket(req *http.Request) (*WebSocket, Reply) {
	c.T.Helper()
	conn, err := c.dial(context.Background())
	if err != nil {
		c.T.Fatalf("dial: %v", err)
	}
	c.T.Cleanup(func() { _ = conn.Close() })
	ws := &WebSocket{c.T, conn, bufio.NewReader(conn)}
	_ = conn.SetDeadline(time.Now().Add(patience))
	if err := req.Write(conn); err != nil {
		c.T.Fatalf("handshake: %v", err)
	}
	resp, err := http.ReadResponse(ws.in, req)
	if err != nil {
		return nil, Reply{Err: err}
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		body, err := io.ReadAll(resp.Body)
		return nil, Reply{resp.StatusCode, string(body), resp.Header, err}
	}
	return ws, Reply{}
}

// OpenWebSocket opens a session on a WebSocket; extra is added to the query.
func (c *Client) OpenWebSocket(extra string) (*WebSocket, Handshake) {
	c.T.Helper()
	ws := c.WebSocket("EIO=4&transport=websocket" + extra)
	var h Handshake
	first := ws.Text()
	if !strings.HasPrefix(first, "0") || json.Unmarshal([]byte(first[1:]), &h) != nil {
		c.T.Fatalf("first frame: %q", first)
	}
	return ws, h
}

// Opcodes as the first byte of a whole frame.
const (
	wholeText   = 0x81
	wholeBinary = 0x82
)

// Send sends packets, one text frame each.
func (ws *WebSocket) Send(packets ...string) {
	ws.t.Helper()
	for _, p := range packets {
		ws.Frame(wholeText, []byte(p))
	}
}

// SendBinary sends a binary frame.
func (ws *WebSocket) SendBinary(data []byte) {
	ws.t.Helper()
	ws.Frame(wholeBinary, data)
}

// Frame sends one masked frame whose first byte is b0. Whether the server still
// takes it is not looked at.
func (ws *WebSocket) Frame(b0 byte, payload []byte) {
	mask := [4]byte{7, 5, 3, 1}
	out := []byte{b0}
	switch n := len(payload); {
	case n < 126:
		out = append(out, 0x80|byte(n))
	case n < 1<<16:
		out = binary.BigEndian.AppendUint16(append(out, 0x80|126), uint16(n))
	default:
		out = binary.BigEndian.AppendUint64(append(out, 0x80|127), uint64(n))
	}
	out = append(out, mask[:]...)
	for i, c := range payload {
		out = append(out, c^mask[i&3])
	}
	_ = ws.conn.SetWriteDeadline(time.Now().Add(patience))
	_, _ = ws.conn.Write(out)
}

// Next returns the next frame: its opcode and its payload. An error is that of
// the connection.
func (ws *WebSocket) Next() (op byte, payload []byte, err error) {
	_ = ws.conn.SetReadDeadline(time.Now().Add(patience))
	var head [10]byte
	if _, err := io.ReadFull(ws.in, head[:2]); err != nil {
		return 0, nil, err
	}
	n := uint64(head[1])
	switch n {
	case 126:
		_, err = io.ReadFull(ws.in, head[2:4])
		n = uint64(binary.BigEndian.Uint16(head[2:]))
	case 127:
		_, err = io.ReadFull(ws.in, head[2:10])
		n = binary.BigEndian.Uint64(head[2:])
	}
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(ws.in, payload)
	return head[0] & 0x0F, payload, err
}

// Text returns the next frame, which must be text.
func (ws *WebSocket) Text() string {
	ws.t.Helper()
	op, data, err := ws.Next()
	if err != nil || op != 1 {
		ws.t.Fatalf("got opcode %d %.100q (%v), want text", op, data, err)
	}
	return string(data)
}

// Gets checks the next frames, all of them text.
func (ws *WebSocket) Gets(packets ...string) {
	ws.t.Helper()
	for _, want := range packets {
		if got := ws.Text(); got != want {
			ws.t.Fatalf("got %.100q, want %.100q", got, want)
		}
	}
}

// GetsBinary checks the next frame, a binary one.
func (ws *WebSocket) GetsBinary(want string) {
	ws.t.Helper()
	if op, data, err := ws.Next(); err != nil || op != 2 || string(data) != want {
		ws.t.Fatalf("got opcode %d %.100q (%v), want binary %q", op, data, err, want)
	}
}

// Ended checks that the server closes now, and returns the code of its close
// frame; 0: it has none.
func (ws *WebSocket) Ended() int {
	ws.t.Helper()
	op, data, err := ws.Next()
	if err != nil || op != 8 || len(data) == 1 {
		ws.t.Fatalf("got opcode %d %.100q (%v), want a close frame", op, data, err)
	}
	if _, _, err := ws.Next(); err == nil {
		ws.t.Fatalf("something follows the close frame")
	}
	if len(data) == 0 {
		return 0
	}
	return int(binary.BigEndian.Uint16(data))
}

// Drop closes the connection without a word.
func (ws *WebSocket) Drop() { _ = ws.conn.Close() }

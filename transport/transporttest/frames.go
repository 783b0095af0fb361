package transporttest

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/jobcast/jobcast/eventlog"
)

// Opcodes of RFC 6455 11.8.
const (
	opText  = 0x1
	opClose = 0x8
	opPing  = 0x9
	opPong  = 0xA
)

// frames is a WebSocket connection, below what its messages mean.
type frames struct {
	nc   net.Conn
	in   *bufio.Reader
	stop func() bool

	protocol string // that was selected

	mu sync.Mutex // serialises writes
}

// dialFrames makes the handshake; extra is lines that are added to the request's head.
func dialFrames(ctx context.Context, c Caller, path, extra string) (*frames, error) {
	nc, err := c.Dial(ctx)
	if err != nil {
		return nil, err
	}
	f := &frames{nc: nc, in: bufio.NewReader(nc), stop: context.AfterFunc(ctx, func() { _ = nc.Close() })}
	for _, offered := range c.Protocols {
		extra += "Sec-WebSocket-Protocol: " + offered + "\r\n"
	}
	err = f.handshake(path, extra+cmp.Or(c.Framed, "\r\n"))
	if selected := f.protocol; err == nil && len(c.Protocols) > 0 && (selected == "" || selected != strings.Trim(strings.Split(c.Protocols[0], ",")[0], "\t")) {
		err = fmt.Errorf("of %q was selected %q", c.Protocols, selected)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (f *frames) handshake(path, extra string) error {
	head := "GET " + path + " HTTP/1.1\r\nHost: jobcast.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + extra
	go func() { _, _ = io.WriteString(f.nc, head) }() // an answer may come before the end of it, and an error shows there
	resp, err := http.ReadResponse(f.in, nil)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusSwitchingProtocols:
		body, _ := io.ReadAll(resp.Body)
		return &Refusal{Status: resp.StatusCode, Header: resp.Header, Body: body}
	case resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=": // RFC 6455 1.3
		return fmt.Errorf("accepted with %q", resp.Header.Get("Sec-WebSocket-Accept"))
	}
	f.protocol = resp.Header.Get("Sec-WebSocket-Protocol")
	return nil
}

// write sends one masked frame.
func (f *frames) write(b0 byte, payload []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	mask := [4]byte{7, 1, 9, 3}
	frame := []byte{b0}
	switch n := len(payload); {
	case n < 126:
		frame = append(frame, 0x80|byte(n))
	case n < 1<<16:
		frame = append(frame, 0x80|126, byte(n>>8), byte(n))
	default:
		frame = binary.BigEndian.AppendUint64(append(frame, 0x80|127), uint64(n))
	}
	frame = append(frame, mask[:]...)
	for i, b := range payload {
		frame = append(frame, b^mask[i&3])
	}
	_, err := f.nc.Write(frame)
	return err
}

// closed is the server's close frame.
type closed struct {
	code   int
	reason string
}

func (c *closed) Error() string { return fmt.Sprintf("closed with %d %s", c.code, c.reason) }

// frame returns the next frame; a close frame is a *closed.
func (f *frames) frame() (op byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(f.in, head[:]); err != nil {
		return 0, nil, err
	}
	n := uint64(head[1])
	if head[0]&0x80 == 0 || n&0x80 != 0 {
		return 0, nil, fmt.Errorf("frame begins with %x", head)
	}
	if n >= 126 {
		ext := make([]byte, map[uint64]int{126: 2, 127: 8}[n])
		if _, err := io.ReadFull(f.in, ext); err != nil {
			return 0, nil, err
		}
		n = 0
		for _, b := range ext {
			n = n<<8 | uint64(b)
		}
	}
	if n+10 > eventlog.MaxFrameBytes {
		return 0, nil, fmt.Errorf("%w: a message of %d bytes and its header", ErrWire, n)
	}
	payload = make([]byte, n)
	if _, err := io.ReadFull(f.in, payload); err != nil {
		return 0, nil, err
	}
	op = head[0] & 0x0F
	if op == opClose {
		c := &closed{code: 1005}
		if len(payload) >= 2 {
			c.code, c.reason = int(binary.BigEndian.Uint16(payload)), string(payload[2:])
		}
		return op, nil, c
	}
	return op, payload, nil
}

// Close closes the socket without a word.
func (f *frames) Close() {
	f.stop()
	_ = f.nc.Close()
}

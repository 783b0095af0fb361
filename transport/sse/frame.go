package sse

import (
	"bytes"
	"strconv"
	"time"

	"github.com/jobcast/jobcast/hub"
	"github.com/jobcast/jobcast/transport"
	"github.com/jobcast/jobcast/transport/wire"
)

// minRetry is how long an EventSource waits before it comes back, unless the
// server asks for more. Browsers default to 3 to 5 seconds.
const minRetry = 2 * time.Second

// A frame's data is compact JSON, so it holds no CR or LF (JSON escapes them)
// and one data line carries it whole. Names come from this program and cursors
// from a fixed alphabet, so nothing a job says can forge a field.

// appendSSE appends a named frame with its id, if it has one.
func appendSSE(dst []byte, f transport.Frame) []byte {
	dst = append(dst, "event: "...)
	dst = append(dst, f.Event...)
	if f.Cursor != "" {
		dst = append(dst, "\nid: "...)
		dst = append(dst, f.Cursor...)
	}
	dst = append(dst, "\ndata: "...)
	dst = append(dst, f.MarshalData()...)
	return append(dst, "\n\n"...)
}

// appendRetry begins a block that a frame goes on with. Alone in a block it would be an
// empty message to parsers that hand out whatever stands before a blank line.
func appendRetry(dst []byte, d time.Duration) []byte {
	dst = append(dst, "retry: "...)
	dst = strconv.AppendInt(dst, d.Milliseconds(), 10)
	return append(dst, '\n')
}

// signOfLife is a comment. The next block begins with it, for the same reason.
const signOfLife = ":\n"

// appendLine appends an NDJSON frame.
func appendLine(dst []byte, event string, data []byte) []byte {
	dst = append(dst, `{"event":"`...)
	dst = append(dst, event...)
	dst = append(dst, `","data":`...)
	dst = append(dst, data...)
	return append(dst, "}\n"...)
}

// eventFrame is a job event without a name, so that onmessage sees it.
func eventFrame(e *hub.Event) []byte {
	b := make([]byte, 0, len(e.JSON)+len(e.ID)+32)
	b = append(b, "id: "...)
	b = append(b, e.ID...)
	b = append(b, "\ndata: "...)
	b = append(b, e.JSON...)
	return chunk(append(b, "\n\n"...))
}

func eventLine(e *hub.Event) []byte {
	return chunk(appendLine(make([]byte, 0, len(e.JSON)+48), "job.event", e.JSON))
}

// chunk wraps body as one chunk. Shared frames are kept in this form, which nearly every
// peer gets.
func chunk(body []byte) []byte { return wire.AppendChunk(nil, body) }

// unchunk returns the body of one chunk, for the rare HTTP/1.0 peer.
func unchunk(b []byte) []byte {
	return b[bytes.IndexByte(b, '\n')+1 : len(b)-2]
}

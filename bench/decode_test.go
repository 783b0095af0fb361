package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// stream is what a server sends: a head and frames, each in a chunk.
func stream(frames ...string) []byte {
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
	for _, f := range frames {
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(f), f)
	}
	b.WriteString("0\r\n\r\n")
	return b.Bytes()
}

// read feeds raw in pieces of the given sizes, repeated, to a decoder of SSE and
// writes down what was seen.
func read(t fataler, raw []byte, sizes ...int) []string {
	return readBy(t, &sseDecoder{}, raw, sizes...)
}

type fataler interface{ Fatalf(string, ...any) }

func readBy(t fataler, dec decoder, raw []byte, sizes ...int) []string {
	var seen []string
	for i := 0; len(raw) > 0; i++ {
		n := min(sizes[i%len(sizes)], len(raw))
		err := dec.feed(bytes.Clone(raw[:n]), func(f frame) {
			seen = append(seen, fmt.Sprintf("%s %d %s", f.name, f.seq, f.data))
		})
		if err != nil {
			t.Fatalf("feed: %v", err)
		}
		raw = raw[n:]
	}
	return seen
}

func TestDecodeWholeStream(t *testing.T) {
	raw := stream(
		"retry: 2000\nevent: connected\ndata: {}\n\n",
		"id: k3f9-17\ndata: {\"id\":\"k3f9-17\"}\n\n",
		":\n", ":\n",
		"event: live\nid: k3f9-17\ndata: {\"cursor\":\"k3f9-17\"}\n\n",
	)
	want := []string{"connected 0 {}", " 17 {\"id\":\"k3f9-17\"}", "live 17 {\"cursor\":\"k3f9-17\"}"}
	if diff := cmp.Diff(want, read(t, raw, len(raw))); diff != "" {
		t.Errorf("frames: -want +got\n%s", diff)
	}
}

// However the network cuts a stream, the frames are the same.
func TestDecodeAnyPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		frames := rapid.SliceOfN(rapid.StringMatching(`(id: e-[1-9]{1,9}\n)?data: [a-z\r]{0,40}\n\n`), 1, 20).Draw(t, "frames")
		raw := stream(frames...)
		sizes := rapid.SliceOfN(rapid.IntRange(1, 60), 1, 8).Draw(t, "sizes")
		want := read(t, raw, len(raw))
		if len(want) != len(frames) {
			t.Fatalf("%d frames were sent, %d read", len(frames), len(want))
		}
		if diff := cmp.Diff(want, read(t, raw, sizes...)); diff != "" {
			t.Fatalf("in pieces: -whole +pieces\n%s", diff)
		}
	})
}

func TestDecodeWebSocketInAnyPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.SampledFrom([]int{0, 1, 80, 81, 200, 65_480, 65_500, 70_000}), 1, 8).Draw(t, "messages")
		raw := []byte("HTTP/1.1 101 Switching Protocols\r\n\r\n")
		var want []string
		for i, n := range sizes {
			text := fmt.Sprintf(`{"event":"job.event","data":{"id":"e-%d","pad":"%s"}}`, i+1, strings.Repeat(".", n))
			want = append(want, fmt.Sprintf(" %d %s", i+1, text))
			raw = append(appendServerFrame(raw, text), 0x89, 0) // and a ping
		}
		pieces := rapid.SliceOfN(rapid.SampledFrom([]int{1, 2, 3, 50, 126, 4000, 64 << 10}), 1, 8).Draw(t, "pieces")
		dec := &wsDecoder{dialog: &jobcastDialog{}}
		if diff := cmp.Diff(want, readBy(t, dec, raw, pieces...)); diff != "" {
			t.Fatalf("-sent +read\n%s", diff)
		}
		if n := bytes.Count(dec.talk(), []byte{0x8A}); n != len(sizes) {
			t.Fatalf("%d pings answered, %d sent", n, len(sizes))
		}
	})
}

// appendServerFrame appends a text message as a server sends it (RFC 6455, 5.2).
func appendServerFrame(dst []byte, text string) []byte {
	switch n := len(text); {
	case n < 126:
		dst = append(dst, 0x81, byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, 0x81, 126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 0x81, 127), uint64(n))
	}
	return append(dst, text...)
}

func TestDecodeRefuses(t *testing.T) {
	for name, raw := range map[string]string{
		"status":       "HTTP/1.1 429 Too Many Requests\r\nTransfer-Encoding: chunked\r\n\r\n",
		"not chunked":  "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
		"chunk size":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"endless head": strings.Repeat("x", maxPending+1),
	} {
		t.Run(name, func(t *testing.T) {
			var dec sseDecoder
			if err := dec.feed([]byte(raw), func(frame) { t.Error("a frame was seen") }); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(stream("id: a-1\ndata: {}\n\n"), 7)
	f.Fuzz(func(_ *testing.T, raw []byte, piece int) {
		var dec sseDecoder
		piece = min(max(piece, 1), 1<<10)
		for len(raw) > 0 {
			n := min(piece, len(raw))
			if dec.feed(raw[:n:n], func(frame) {}) != nil {
				return
			}
			raw = raw[n:]
		}
	})
}

func TestMember(t *testing.T) {
	data := []byte(`{"type":"job.progress","data":{"message":"1764000000000000001 ..."}}`)
	if got := string(member(data, typeMember)); got != "job.progress" {
		t.Errorf("type: %q", got)
	}
	if got := number(member(data, messageMember)); got != 1764000000000000001 {
		t.Errorf("stamp: %d", got)
	}
	if got := member([]byte(`{"message":"cut`), messageMember); got != nil {
		t.Errorf("an unfinished text gave %q", got)
	}
	var at spot
	for _, want := range []string{"a", "bb", "", "ccc"} {
		if got := string(at.member([]byte(`{"n":"`+want+`","id":"`+want+`"}`), idMember)); got != want {
			t.Errorf("id: %q, want %q", got, want)
		}
	}
	if got := at.member([]byte(`{"n":""}`), idMember); got != nil {
		t.Errorf("an id that is not there: %q", got)
	}
}

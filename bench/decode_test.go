package main

import (
	"bytes"
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

// read feeds raw in pieces of the given sizes, repeated, and writes down what
// was seen.
func read(t interface{ Fatalf(string, ...any) }, raw []byte, sizes ...int) []string {
	var dec sseDecoder
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
		"retry: 2000\n\nevent: connected\ndata: {}\n\n",
		"id: k3f9-17\ndata: {\"id\":\"k3f9-17\"}\n\n",
		":\n\n",
		"event: live\nid: k3f9-17\ndata: {\"cursor\":\"k3f9-17\"}\n\n",
	)
	want := []string{": 0 ", "connected 0 {}", " 17 {\"id\":\"k3f9-17\"}", ": 0 ", "live 17 {\"cursor\":\"k3f9-17\"}"}
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
}

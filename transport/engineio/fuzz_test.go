package engineio

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/jobcast/jobcast/transport/wire/rfc6455"
)

func FuzzParsePacket(f *testing.F) {
	for _, s := range []string{"", "0{}", "1", "2probe", "3", "4hello", "5", "6", "bAQID", "b", "b!-_=", "7", "\xff", "4\x1e", "bA"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := parsePacket(text)
		known := len(text) > 0 && strings.IndexByte("0123456b", text[0]) >= 0
		if known != (err == nil) {
			t.Fatalf("%q: %v", text, err)
		}
		switch {
		case err != nil:
		case text[0] != typeBinary:
			if p.Binary || p.kind != text[0] || !bytes.Equal(p.Data, text[1:]) {
				t.Fatalf("%q became %c %q", text, p.kind, p.Data)
			}
		default:
			strict, err := base64.StdEncoding.DecodeString(string(text[1:]))
			clean := !bytes.ContainsAny(text, "\r\n")
			if !p.Binary || p.kind != typeMessage || err == nil && clean && !bytes.Equal(p.Data, strict) {
				t.Fatalf("%q became %q, want %q", text, p.Data, strict)
			}
			again, err := parsePacket(base64.StdEncoding.AppendEncode([]byte("b"), p.Data))
			if err != nil || !bytes.Equal(again.Data, p.Data) {
				t.Fatalf("%q does not survive: %q %v", p.Data, again.Data, err)
			}
		}
	})
}

func FuzzSplitPayload(f *testing.F) {
	for _, s := range []string{"", "4a", "4a\x1e4b", "4a\x1e\x1e4b", "\x1e", "2\x1ebAQ==\x1e6", "4a\x1ex\x1e4b", strings.Repeat("6\x1e", maxPackets)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		parts := bytes.Split(body, []byte{separator})
		n := 0
		err := splitPayload(body, func(p packet) error {
			want, err := parsePacket(parts[n])
			if err != nil || p.kind != want.kind || p.Binary != want.Binary || !bytes.Equal(p.Data, want.Data) {
				t.Fatalf("packet %d of %q is %c %q", n, body, p.kind, p.Data)
			}
			n++
			return nil
		})
		switch {
		case err == nil && n != len(parts), n > maxPackets:
			t.Fatalf("%d packets of %d", n, len(parts))
		case err != nil && n < maxPackets:
			if _, bad := parsePacket(parts[n]); bad == nil {
				t.Fatalf("%v at %q", err, parts[n])
			}
		}
		if n == 0 {
			return
		}
		wanted, stop := 0, errors.New("stop")
		if err := splitPayload(body, func(packet) error { wanted++; return stop }); !errors.Is(err, stop) || wanted != 1 {
			t.Fatalf("went on after %v: %d packets", err, wanted)
		}
	})
}

// FuzzWriter: what a Writer says in either form is read back as the same messages.
func FuzzWriter(f *testing.F) {
	f.Add([]byte("hello"), []byte{0, 1, 2}, true)
	f.Add([]byte(strings.Repeat("x", 126)), []byte{}, false)
	f.Add([]byte(strings.Repeat("x", 1<<16)), bytes.Repeat([]byte("y"), 125), true)
	f.Fuzz(func(t *testing.T, text, data []byte, old bool) {
		text = bytes.ReplaceAll(text, []byte{separator}, nil)
		fill := func(w *Writer) {
			w.Text(text[:len(text)/2], text[len(text)/2:])
			w.Frame(NewFrame(text))
			w.Binary(data)
		}
		check := func(how string, got []packet) {
			if len(got) != 3 || !bytes.Equal(got[0].Data, text) || !bytes.Equal(got[1].Data, text) || !bytes.Equal(got[2].Data, data) ||
				got[0].Binary || got[1].Binary || !got[2].Binary {
				t.Fatalf("%s: %v", how, got)
			}
		}
		w := &Writer{polling: true, base64: old}
		fill(w)
		var got []packet
		if err := splitPayload(w.buf, func(p packet) error { got = append(got, p); return nil }); err != nil {
			t.Fatal(err)
		}
		check("polling", got)

		w = &Writer{base64: old}
		fill(w)
		check("WebSocket", unframe(t, w.buf))
		if !bytes.Equal(NewFrame(text).Text(), text) {
			t.Fatal("a frame loses its text")
		}
	})
}

// unframe reads unmasked frames.
func unframe(t *testing.T, b []byte) (got []packet) {
	r := bytes.NewReader(b)
	for r.Len() > 0 {
		var head [10]byte
		_, _ = io.ReadFull(r, head[:2])
		n := int(head[1])
		if extra := map[int]int{126: 2, 127: 8}[n]; extra > 0 {
			n = 0
			for range extra {
				c, _ := r.ReadByte() // an early end shows below
				n = n<<8 | int(c)
			}
		}
		payload := make([]byte, n)
		if _, err := io.ReadFull(r, payload); err != nil {
			t.Fatal(err)
		}
		if head[0] == 0x80|rfc6455.OpBinary {
			got = append(got, packet{typeMessage, Message{Binary: true, Data: payload}})
			continue
		}
		p, err := parsePacket(payload)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p)
	}
	return got
}

package rfc6455

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

const maxMessage = 64 << 10

// clientFrame is a masked frame as clients send them.
func clientFrame(b0 byte, payload []byte) []byte {
	mask := [4]byte{1, 2, 3, 4}
	out := []byte{b0}
	switch n := len(payload); {
	case n < 126:
		out = append(out, 0x80|byte(n))
	case n < 1<<16:
		out = append(out, 0x80|126, byte(n>>8), byte(n))
	default:
		out = binary.BigEndian.AppendUint64(append(out, 0x80|127), uint64(n))
	}
	out = append(out, mask[:]...)
	for i, c := range payload {
		out = append(out, c^mask[i&3])
	}
	return out
}

func join(frames ...[]byte) []byte { return bytes.Join(frames, nil) }

func TestDecoder(t *testing.T) {
	long := strings.Repeat("x", 300)
	big := bytes.Repeat([]byte("x"), maxMessage)
	var many [][]byte
	many = append(many, clientFrame(OpText, nil))
	for range maxFragments {
		many = append(many, clientFrame(OpContinuation, nil))
	}
	for name, tc := range map[string]struct {
		in   []byte
		want []string // op and data of each message
		code int      // of the close, 0: io.EOF
		cut  bool     // io.ErrUnexpectedEOF
	}{
		"text":                       {in: clientFrame(0x81, []byte("hé")), want: []string{"\x01hé"}},
		"16 bit length":              {in: clientFrame(0x81, []byte(long)), want: []string{"\x01" + long}},
		"64 bit length":              {in: clientFrame(0x81, big), want: []string{"\x01" + string(big)}},
		"two messages":               {in: join(clientFrame(0x81, []byte("a")), clientFrame(0x82, []byte("b"))), want: []string{"\x01a", "\x02b"}},
		"fragments around a ping":    {in: join(clientFrame(0x01, []byte("a")), clientFrame(0x89, []byte("p")), clientFrame(0x80, []byte("b"))), want: []string{"\x09p", "\x01ab"}},
		"UTF-8 split over fragments": {in: join(clientFrame(0x01, []byte("h\xc3")), clientFrame(0x80, []byte("\xa9"))), want: []string{"\x01hé"}},
		"not UTF-8":                  {in: clientFrame(0x81, []byte("\xff")), code: 1007},
		"one byte too big":           {in: clientFrame(0x81, append(big, 'x')), code: 1009},
		"too big over fragments":     {in: join(clientFrame(0x01, big), clientFrame(0x80, []byte("x"))), code: 1009},
		"huge length":                {in: []byte{0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}, code: 1009},
		"endless empty fragments":    {in: join(many...), code: 1009},
		"not masked":                 {in: []byte{0x81, 0x01, 'a'}, code: 1002},
		"compressed":                 {in: clientFrame(0xC1, []byte("a")), code: 1002},
		"unknown opcode":             {in: clientFrame(0x83, nil), code: 1002},
		"unknown control opcode":     {in: clientFrame(0x8B, nil), code: 1002},
		"fragmented control":         {in: clientFrame(0x09, nil), code: 1002},
		"long control":               {in: clientFrame(0x89, make([]byte, 126)), code: 1002},
		"continuation of nothing":    {in: clientFrame(0x80, nil), code: 1002},
		"message inside a message":   {in: join(clientFrame(0x01, nil), clientFrame(0x81, nil)), code: 1002},
		"cut in the header":          {in: []byte{0x81, 0x85, 1}, cut: true},
		"cut in the payload":         {in: clientFrame(0x81, []byte("abc"))[:7], cut: true},
	} {
		for _, early := range []int{-1, 0, 1, 7, len(tc.in)} {
			t.Run(fmt.Sprintf("%s, %d early", name, early), func(t *testing.T) {
				at := min(max(early, 0), len(tc.in))
				d := Decoder{MaxMessage: maxMessage, Early: tc.in[:at], R: iotest.OneByteReader(bytes.NewReader(tc.in[at:]))}
				if early < 0 {
					d.R = bytes.NewReader(tc.in)
				}
				var got []string
				var err error
				for {
					var m Message
					if m, err = d.Next(); err != nil {
						break
					}
					got = append(got, string(rune(m.Op))+string(m.Data))
				}
				if strings.Join(got, "|") != strings.Join(tc.want, "|") {
					t.Errorf("got %.80q", got)
				}
				var broken *CloseError
				switch {
				case tc.code != 0 && (!errors.As(err, &broken) || broken.Code != tc.code):
					t.Errorf("ended with %v, want code %d", err, tc.code)
				case tc.cut && !errors.Is(err, io.ErrUnexpectedEOF):
					t.Errorf("ended with %v, want an unexpected end", err)
				case tc.code == 0 && !tc.cut && !errors.Is(err, io.EOF):
					t.Errorf("ended with %v", err)
				}
			})
		}
	}
}

// TestDecoderRests: a decoder reads as much as there is at once, says what of it is
// left, and has no buffer once nothing is.
func TestDecoderRests(t *testing.T) {
	r := &countingReader{r: bytes.NewReader(join(clientFrame(0x81, []byte("a")), clientFrame(0x81, []byte("b"))))}
	d := Decoder{MaxMessage: maxMessage, R: r}
	for i, want := range []struct {
		text  string
		early int
	}{{"a", 7}, {"b", 0}} {
		m, err := d.Next()
		if err != nil || string(m.Data) != want.text || len(d.Early) != want.early || (d.scratch != nil) != (want.early > 0) {
			t.Errorf("message %d: %q, %v; %d bytes are left, buffer %t", i, m.Data, err, len(d.Early), d.scratch != nil)
		}
	}
	if r.n != 1 {
		t.Errorf("%d reads for two small messages", r.n)
	}
}

type countingReader struct {
	r io.Reader
	n int
}

func (c *countingReader) Read(p []byte) (int, error) {
	c.n++
	return c.r.Read(p)
}

func TestCloseCode(t *testing.T) {
	for in, want := range map[string]int{
		"": 0, "\x03": 1002, "\x03\xe8": 1000, "\x03\xe8bye": 1000, "\x03\xe8\xff": 1002, // not UTF-8
		"\x03\xec": 1002, "\x03\xed": 1002, "\x03\xee": 1002, // 1004 to 1006 never travel
		"\x0b\xb8": 3000, "\x13\x87": 4999, "\x13\x88": 1002, "\x03\xe7": 1002,
	} {
		if got := CloseCode([]byte(in)); got != want {
			t.Errorf("%x: %d, want %d", in, got, want)
		}
	}
}

func FuzzDecoder(f *testing.F) {
	f.Add(clientFrame(0x81, []byte(`{"event":"pong"}`)))
	f.Add(join(clientFrame(0x01, []byte("a")), clientFrame(0x89, nil), clientFrame(0x80, []byte("b"))))
	f.Fuzz(func(t *testing.T, in []byte) {
		d := Decoder{MaxMessage: maxMessage, R: bytes.NewReader(in)}
		for n := 0; ; n++ {
			m, err := d.Next()
			if err != nil {
				return
			}
			if len(m.Data) > maxMessage || m.Op >= OpClose && len(m.Data) > maxControl || n > len(in) {
				t.Fatalf("message of %d bytes, op %x", len(m.Data), m.Op)
			}
		}
	})
}

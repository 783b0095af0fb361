package client

import (
	"bufio"
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/iotest"
)

// readAll reads messages to the end of text.
func readAll(text []byte, r func([]byte) *bufio.Reader) (out []string, err error) {
	b := r(text)
	for {
		name, data, err := readSSE(b)
		if err != nil {
			return out, err
		}
		out = append(out, name+"|"+string(data))
	}
}

func whole(text []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(text)) }

func crumbs(text []byte) *bufio.Reader {
	return bufio.NewReaderSize(iotest.OneByteReader(bytes.NewReader(text)), 16)
}

func TestReadSSE(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	for in, want := range map[string]string{
		"retry: 2000\n\n":                           "",
		":\n\n:comment\n\n":                         "",
		"id: 1\ndata: a\n\n":                        "|a",
		"event: e\r\nid: 1\r\ndata: {}\r\n\r\n":     "e|{}",
		"data:a\ndata: b\n\n":                       "|a\nb",
		"data\n\n":                                  "|",
		"event: gone\n\ndata: a\n\n":                "|a", // a name without data names nothing
		"data: a\n\ndata: cut\n":                    "|a",
		"data: a\n\ndata: cu":                       "|a",
		"data: " + long + "\n\nevent: x\ndata:\n\n": "|" + long + " x|",
		"unknown: x\ndata: a: b\n\n":                "|a: b",
	} {
		for how, r := range map[string]func([]byte) *bufio.Reader{"whole": whole, "crumbs": crumbs} {
			got, err := readAll([]byte(in), r)
			if strings.Join(got, " ") != want || !errors.Is(err, errCut) {
				t.Errorf("%.40q, %s: %.80q, %v", in, how, got, err)
			}
		}
	}
}

// However a stream is cut into reads, it holds the same messages; and what is
// cut off its end never adds or changes one.
func FuzzReadSSE(f *testing.F) {
	f.Add([]byte("event: e\nid: 1\ndata: {}\n\ndata: a\ndata: b\n\n"), uint(9))
	f.Add([]byte(":\r\n\r\ndata\r\n\r\n"), uint(3))
	f.Fuzz(func(t *testing.T, text []byte, at uint) {
		got, err := readAll(text, whole)
		if err == nil {
			t.Fatal("it never ended")
		}
		again, _ := readAll(text, crumbs)
		if strings.Join(got, "\x00") != strings.Join(again, "\x00") {
			t.Errorf("whole %q, in crumbs %q", got, again)
		}
		less, _ := readAll(text[:at%uint(len(text)+1)], whole)
		if len(less) > len(got) || strings.Join(less, "\x00") != strings.Join(got[:len(less)], "\x00") {
			t.Errorf("cut %q, whole %q", less, got)
		}
	})
}

func TestClip(t *testing.T) {
	for in, want := range map[string]string{"": "", "abc": "abc", "abcd": "abc", "aäb": "aä", "abä": "ab", "\xff": "\uFFFD", "a\xff": "a"} {
		if got := clip(in, 3); got != want {
			t.Errorf("clip %q: %q, want %q", in, got, want)
		}
	}
}

package action

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/jobcast/jobcast/jobs"
)

// listener answers each request with status 204, or with redirect if the path is
// /go, and hands out the head of each, as it came.
func listener(t *testing.T, redirect string) (base string, heads <-chan string) {
	t.Helper()
	out := make(chan string, 10)
	return target(t, func(c net.Conn) {
		var head strings.Builder
		for r := bufio.NewReader(c); !strings.HasSuffix(head.String(), "\r\n\r\n"); {
			b, err := r.ReadByte()
			if err != nil {
				return
			}
			head.WriteByte(b)
		}
		out <- head.String()
		if strings.Contains(head.String(), "/go ") {
			fmt.Fprintf(c, "HTTP/1.1 307 x\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n", redirect)
		} else {
			fmt.Fprint(c, "HTTP/1.1 204 x\r\n\r\n")
		}
	}), out
}

// What the URL standard, which browsers follow, says is asked for. It was written down
// from the standard and not from what a browser sent.
var asked = []struct{ url, target string }{
	{"/?q=a b", "/?q=a%20b"},
	{"/a b", "/a%20b"},
	{"  /x  ", "/x"},
	{"/grün?größe=ü", "/gr%C3%BCn?gr%C3%B6%C3%9Fe=%C3%BC"},
	{"/?q=\"<>'", "/?q=%22%3C%3E%27"},
	{"/\"<>`{}", "/%22%3C%3E%60%7B%7D"},
	{"/a%2Fb|c", "/a%2Fb%7Cc"},
	{"/a%2fb/%C3%BC", "/a%2fb/%C3%BC"},
	{`/a\b?c\d`, `/a/b?c\d`},
	{"/a/../b/./c", "/b/c"},
	{"/a#fragment with blanks", "/a"},
	{"?q", "/?q"},
	{"/?a=%zz", "/?a=%zz"},
	{"/\u2028\u00a0\U0001F600", "/%E2%80%A8%C2%A0%F0%9F%98%80"},
	{"/a;b=c,d:e@f$g&h+i!j*k(l)~m", "/a;b=c,d:e@f$g&h+i!j*k(l)~m"},
}

func TestHTTPEncodesLikeABrowser(t *testing.T) {
	base, heads := listener(t, "")
	for _, c := range asked {
		text := base + c.url
		if strings.HasPrefix(c.url, " ") {
			text = "  " + base + strings.TrimLeft(c.url, " ")
		}
		raw, err := json.Marshal(map[string]string{"type": "http", "url": text})
		if err != nil {
			t.Fatal(err)
		}
		if _, e := run(t, "%s", raw); e != nil {
			t.Errorf("%q: %v", c.url, e)
			continue
		}
		line, _, _ := strings.Cut(<-heads, "\r\n")
		if line != "GET "+c.target+" HTTP/1.1" {
			t.Errorf("%q is asked for as %q, want %q", c.url, line, c.target)
		}
	}
}

// A redirect is text from elsewhere too.
func TestHTTPEncodesRedirects(t *testing.T) {
	for location, want := range map[string]string{
		"/?q=a b":     "/?q=a%20b",
		"/a b\"c":     "/a%20b%22c",
		"/a%2Fb|c":    "/a%2Fb%7Cc",
		"?q=\xff ü":   "/go?q=%EF%BF%BD%20%C3%BC",
		"/ü#fragment": "/%C3%BC",
		"\\x\\y":      "/x/y",
	} {
		base, heads := listener(t, location)
		if _, e := run(t, `{"type":"http","url":"%s/go"}`, base); e != nil {
			t.Errorf("%q: %v", location, e)
			continue
		}
		<-heads
		line, _, _ := strings.Cut(<-heads, "\r\n")
		if line != "GET "+want+" HTTP/1.1" {
			t.Errorf("a redirect to %q is followed as %q, want %q", location, line, want)
		}
	}
}

// A redirect that was hoped for is the answer, wherever it leads.
func TestHTTPKeepsRedirectsHopedFor(t *testing.T) {
	for _, location := range []string{"/x", "/100%", "http://[::1/%zz"} {
		base, _ := listener(t, location)
		v, e := run(t, `{"type":"http","url":"%s/go","expectStatus":307}`, base)
		if e != nil {
			t.Errorf("%q: %v", location, e)
			continue
		}
		headers, _ := v["headers"].(map[string]any)
		if v["status"] != 307.0 || headers["location"] != location {
			t.Errorf("%q: %v", location, v)
		}
	}
}

func TestHTTPSendsHeadersAsLatin1(t *testing.T) {
	base, heads := listener(t, "")
	if _, e := run(t, `{"type":"http","url":%q,"headers":{"X-Name":"größer\tÿ \u0080"}}`, base); e != nil {
		t.Fatal(e)
	}
	if head := <-heads; !strings.Contains(head, "\r\nX-Name: gr\xf6\xdfer\t\xff \x80\r\n") {
		t.Errorf("%q", head)
	}
}

func TestHTTPRefusesWhatCannotBeSent(t *testing.T) {
	r := Builtin(Options{})
	for action, pointer := range map[string]string{
		`{"type":"http","url":"http://a/\u0000"}`:                             "/url",
		`{"type":"http","url":"http://a/\tb"}`:                                "/url",
		`{"type":"http","url":"http://a/\r\nX: y"}`:                           "/url",
		`{"type":"http","url":"http://a b/"}`:                                 "/url",
		`{"type":"http","url":"http://a%20b/"}`:                               "/url",
		`{"type":"http","url":"http://a%00b/"}`:                               "/url",
		`{"type":"http","url":"http://a<b/"}`:                                 "/url",
		`{"type":"http","url":"http://xn--zz--/"}`:                            "/url",
		`{"type":"http","url":"http://[::1/"}`:                                "/url",
		`{"type":"http","url":"http://[fe80::1%25lo]/"}`:                      "/url",
		`{"type":"http","url":"http:///a"}`:                                   "/url",
		`{"type":"http","url":"http:a"}`:                                      "/url",
		`{"type":"http","url":"//a"}`:                                         "/url",
		`{"type":"http","url":"javascript:1"}`:                                "/url",
		`{"type":"http","url":"http://a/%zz"}`:                                "/url",
		`{"type":"http","url":"http://ü@a/"}`:                                 "/url",
		`{"type":"http","url":"http://１２７.0.0.1/"}`:                           "/url",
		`{"type":"http","url":"http://127.1/"}`:                               "/url",
		`{"type":"http","url":"http://0x7F.1/"}`:                              "/url",
		`{"type":"http","url":"http://%31%32%37.0.0.1/"}`:                     "/url",
		`{"type":"http","url":"http://münchen.example/"}`:                     "",
		`{"type":"http","url":"https://EXAMPLE.com\\a"}`:                      "",
		`{"type":"http","url":"http://a/","headers":{"X":"a\nb"}}`:            "/headers/X",
		`{"type":"http","url":"http://a/","headers":{"X":"a\u0000"}}`:         "/headers/X",
		`{"type":"http","url":"http://a/","headers":{"X":"\u007f"}}`:          "/headers/X",
		`{"type":"http","url":"http://a/","headers":{"X":"5 €"}}`:             "/headers/X",
		`{"type":"http","url":"http://a/","headers":{"Authorization":"😀"}}`:   "/headers/Authorization",
		`{"type":"http","url":"http://a/","headers":{"Ünicode":"x"}}`:         "/headers/Ünicode",
		`{"type":"http","url":"http://a/","headers":{"X":"tab\tand ümlaut"}}`: "",
	} {
		f := r.ValidateAction(json.RawMessage(action))
		if got := len(f) > 0 && f[0].Pointer == pointer; got != (pointer != "") || (pointer == "" && len(f) > 0) {
			t.Errorf("%s: %v, want %q", action, f, pointer)
		}
	}
}

// A refusal says what is wrong with the address.
func TestHTTPSaysWhatIsWrongWithAURL(t *testing.T) {
	for text, want := range map[string]error{
		"a/b": errNotAbsolute, "ftp://a/": errNotAbsolute, "http:a": errNotAbsolute,
		"http://": errNoHost, "http:///a": errNoHost, "http://?": errNoHost, "http://:80/": errNoHost,
		"http://a b/": errBadHost, "http://a%00b/": errBadHost, "http://[::1/": errBadHost, "http://[::1%25lo]/": errBadHost,
		"http://a{b/": errBadHost, "http://1.2.3.4.5/": errBadHost, "http://xn--zz--/": errBadHost,
		"http://a:65536/": errPort, "http://a:x/": errPort, "http://a:-1/": errPort,
		"http://a/100%": errEscape, "http://a/%zz": errEscape,
		"http://a/\n": errControls,
	} {
		if _, err := browserURL(text); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", text, err, want)
		}
	}
}

// Whatever is accepted gives one valid request line.
func TestHTTPRequestLineIsValid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := "http://host/" + rapid.StringOf(rapid.Rune()).Filter(utf8.ValidString).Draw(t, "rest")
		u, err := browserURL(text)
		if err != nil {
			return
		}
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, u.String(), nil)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		for _, c := range []byte(req.URL.RequestURI()) {
			if c <= ' ' || c >= 0x7F || c == '#' || c == '"' || c == '<' || c == '>' {
				t.Fatalf("%q becomes %q", text, req.URL.RequestURI())
			}
		}
		again, err := browserURL(u.String())
		if err != nil || again.String() != u.String() {
			t.Fatalf("%q becomes %q and then %v, %v", text, u, again, err)
		}
	})
}

var _ jobs.Pauser = (*Registry)(nil)

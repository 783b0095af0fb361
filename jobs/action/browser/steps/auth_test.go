package steps

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// A page that asks for a password shows what it says to those who have none, and nothing
// waits for an answer; a password in a URL opens it, and is told nowhere.
func TestBasicAuth(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ask := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		user, password, ok := r.BasicAuth()
		if !ok || user != "ada" || password != "päss:w0rd" {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, "<h1>who?</h1>")
			return
		}
		_, _ = io.WriteString(w, `<h1>hello</h1><a id=next href=/asks/next>x</a><a id=frag href=#x>x</a><script>fetch('/asks/data').then((r) => { document.title = r.status })</script>`)
	}
	s.mux.HandleFunc("/asks/", ask)
	s.page("/framed", `<iframe src=/asks/frame></iframe><img src=/asks/img><script>fetch('/asks/x').then((r) => { document.title = r.status })</script>`)
	p := newPlayer(t, Config{})
	want := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	want(p.must(open(s.URL+"/asks/")), `{"type":"navigate","url":"`+s.URL+`/asks/","status":401}`)
	p.says("document.querySelector('h1').textContent", "who?")
	p.must(open(s.URL+"/framed"), `{"type":"waitForExpression","expression":"document.title == '401'"}`)
	p.fails(`{"type":"navigate","url":"`+s.URL+`/asks/","expectStatus":200}`, "NavigationError: 401 at "+s.URL+"/asks/")

	with := strings.Replace(s.URL, "http://", "http://ada:p%C3%A4ss%3Aw0rd@", 1)
	want(p.must(open(strings.Replace(with, "w0rd", "wrong", 1)+"/asks/")), `{"type":"navigate","url":"`+s.URL+`/asks/","status":401}`)
	want(p.must(open(with+"/asks/")), `{"type":"navigate","url":"`+s.URL+`/asks/","status":200}`)
	p.says("document.querySelector('h1').textContent", "hello")
	p.must(`{"type":"waitForExpression","expression":"document.title == '200'"}`, `{"type":"click","selector":"#next"}`)
	want(p.must(`{"type":"waitForUrl","pattern":"*/next"}`), `{"type":"waitForUrl","url":"`+s.URL+`/asks/next","status":200}`)
	want(p.must(open(with+"/asks/next#x")), `{"type":"navigate","url":"`+s.URL+`/asks/next#x","status":200}`)
	p.says("location.href", s.URL+"/asks/next#x")
	p.fails(`{"type":"navigate","url":"`+with+`/asks/","expectStatus":204}`, "NavigationError: 200 at "+s.URL+"/asks/")
	p.must(`{"type":"evaluate","expression":"location = '` + strings.Replace(with, "ada", "eve", 1) + `/asks/'"}`)
	want(p.must(`{"type":"waitForUrl","pattern":"*/asks/"}`), `{"type":"waitForUrl","url":"`+s.URL+`/asks/","status":401}`)
	p.fails(open("http://ada:p%C3%A4ss@127.0.0.1:1/"), "NavigationError: net::ERR_UNSAFE_PORT at http://127.0.0.1:1/")
	p.fails(open("http://ada:p%C3%A4ss@nowhere.invalid/"), "NavigationError: net::ERR_NAME_NOT_RESOLVED at http://nowhere.invalid/")
}

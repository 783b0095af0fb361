package steps

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/jobcast/jobcast/jobs"
)

// What a session holds of some origins, another one begins with: cookies of all kinds and
// local storage, and nothing of other origins; no request is made for it.
func TestState(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	asked := make(chan string, 100)
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Host + r.URL.Path
		w.Header().Set("Content-Type", "text/html")
		cookies := []string{"a=1", "b=2; HttpOnly; Max-Age=3600", "c=3; Path=/deep; SameSite=Strict", "d=4; Max-Age=1"}
		if strings.HasPrefix(r.Host, "a.shop") {
			cookies = []string{"e=5; Domain=shop.localhost"}
		}
		for _, c := range cookies {
			w.Header().Add("Set-Cookie", c)
		}
	})
	s.page("/read", ``)
	named := func(host string) string { return strings.Replace(s.URL, "127.0.0.1", host, 1) }
	p := newPlayer(t, Config{})
	p.must(open(named("a.shop.localhost")), `{"type":"evaluate","expression":"localStorage.there = 'x', 1"}`, open(s.URL),
		`{"type":"evaluate","expression":"localStorage.setItem('k\"</script>', 'v\u2028é'), localStorage.setItem('getItem', '7'), 1"}`)
	seen := len(asked)
	state := func(want []string, origins ...string) []byte {
		t.Helper()
		raw, of, err := p.session.State(t.Context(), origins)
		if err != nil || !slices.Equal(of, want) {
			t.Fatalf("state of %v, %v", of, err)
		}
		return raw
	}
	all, one := state([]string{named("a.shop.localhost"), s.URL}), state([]string{s.URL}, s.URL)
	check := func(from []byte, origins []string, here, hidden, there string) {
		t.Helper()
		q := newPlayer(t, Config{})
		if err := q.session.Restore(t.Context(), from, origins); err != nil {
			t.Fatal(err)
		}
		if n := len(asked); n > seen {
			t.Errorf("%d requests were made", n-seen)
		}
		if _, of, err := q.session.State(t.Context(), nil); err != nil || len(of) == 0 || origins == nil && !bytes.Contains(from, []byte(`{"origins":["`+strings.Join(of, `","`)+`"]`)) {
			t.Errorf("a restored state is of %v, %v", of, err)
		}
		cookies, err := q.session.state(t.Context(), []string{s.URL})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range cookies.Cookies {
			if c.Name != "d" { // which may be over
				got = append(got, c.Name+c.Domain+c.Path+string(c.SameSite))
			}
			if c.HTTPOnly != (c.Name == "b") || (c.Expires > 0) != (c.Name == "b" || c.Name == "d") {
				t.Errorf("a cookie became %+v", c)
			}
		}
		if slices.Sort(got); strings.Join(got, " ") != hidden {
			t.Errorf("cookies %q", got)
		}
		q.must(open(s.URL + "/read"))
		q.says("document.cookie.split('; ').filter((c) => c[0] !== 'd').join() + JSON.stringify(Object.entries(localStorage)) + localStorage.length", here)
		q.must(open(named("a.shop.localhost") + "/read"))
		q.says("document.cookie + localStorage.there", there)
		q.must(open(named("b.shop.localhost") + "/read"))
		q.says("document.cookie + localStorage.there", strings.TrimSuffix(there, "x")+strings.Repeat("undefined", strings.Count(there, "x")))
	}
	const here, cookies = "a=1" + `[["k\"</script>","v` + "\u2028" + `é"]]2`, "a127.0.0.1/ b127.0.0.1/ c127.0.0.1/deepStrict"
	check(all, nil, here, cookies, "e=5x")
	check(all, []string{named("a.shop.localhost")}, "[]0", "", "e=5x")
	check(one, nil, here, cookies, "undefined")
	p.must(`{"type":"evaluate","expression":"localStorage.large = 'x'.repeat(1 << 20), 1"}`)
	if _, _, err := p.session.State(t.Context(), nil); err == nil || !strings.HasPrefix(err.Error(), jobs.ClassState+": the browser state is larger than 1048576 bytes") {
		t.Errorf("a large one: %v", err)
	}
	p.must(`{"type":"close"}`)
	state([]string{named("a.shop.localhost")}, named("a.shop.localhost"))
}

// A state is of an IPv6 host too, and an origin that the browser refuses is passed over.
func TestStateOfIPv6(t *testing.T) {
	t.Parallel()
	const origin = "http://[::1]:8080"
	p := newPlayer(t, Config{})
	p.must(`{"type":"setCookies","cookies":[{"name":"a","value":"b","url":"` + origin + `/"}]}`)
	raw, _, err := p.session.State(t.Context(), []string{origin, "http://xn--zz--"})
	if err != nil || !bytes.Contains(raw, []byte(`"name":"a","value":"b","domain":"[::1]"`)) {
		t.Fatalf("%s, %v", raw, err)
	}
	q := newPlayer(t, Config{})
	if err := q.session.Restore(t.Context(), raw, []string{origin}); err != nil {
		t.Fatal(err)
	}
	if held, err := q.session.state(t.Context(), []string{origin}); err != nil || len(held.Cookies) != 1 {
		t.Errorf("restored are %+v, %v", held.Cookies, err)
	}
}

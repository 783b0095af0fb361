package action

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/jobs/redact"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run runs a built-in action that may reach the test's own servers.
func run(t *testing.T, format string, args ...any) (map[string]any, *jobs.ActionError) {
	t.Helper()
	raw := json.RawMessage(fmt.Sprintf(format, args...))
	r := Builtin(Options{AllowPrivateAddresses: true})
	if f := r.ValidateAction(raw); len(f) > 0 {
		t.Fatalf("%s is refused: %v", raw, f)
	}
	v, err := r.Run(context.Background(), raw, jobs.Env{})
	if err != nil {
		var e *jobs.ActionError
		if !errors.As(err, &e) {
			t.Fatalf("error without a class: %v", err)
		}
		return nil, e
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m, nil
}

func serve(t *testing.T, h http.HandlerFunc) string {
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestHTTPSendsWhatItSays(t *testing.T) {
	type seen struct{ Method, Body, Type, Extra, Agent string }
	var got seen
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got = seen{r.Method, string(b), r.Header.Get("Content-Type"), r.Header.Get("X-Extra"), r.UserAgent()}
		w.Header().Set("X-Answer", "yes")
		w.WriteHeader(201)
		fmt.Fprint(w, "grüß dich")
	})
	for _, c := range []struct {
		action string
		want   seen
	}{
		{`{"type":"http","url":%q}`, seen{"GET", "", "", "", "jobcast"}},
		{`{"type":"http","method":"POST","url":%q,"body":"plain"}`, seen{"POST", "plain", "", "", "jobcast"}},
		{`{"type":"http","method":"PUT","url":%q,"body":{"a":[1,null]}}`, seen{"PUT", `{"a":[1,null]}`, "application/json", "", "jobcast"}},
		{`{"type":"http","method":"POST","url":%q,"body":7,"headers":{"content-type":"x/y","X-Extra":"1","User-Agent":"me"}}`,
			seen{"POST", "7", "x/y", "1", "me"}},
	} {
		m, e := run(t, c.action, base)
		if e != nil {
			t.Fatalf("%s: %v", c.action, e)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", c.action, d)
		}
		headers, _ := m["headers"].(map[string]any)
		if m["type"] != "http" || m["status"] != 201.0 || m["body"] != "grüß dich" ||
			m["bodyTruncated"] != false || headers["x-answer"] != "yes" {
			t.Errorf("result %v", m)
		}
		if a, ok := m["artifact"]; !ok || a != nil {
			t.Errorf("artifact = %v, %v; want null", a, ok)
		}
	}
}

func TestHTTPExpectStatus(t *testing.T) {
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var status int
		fmt.Sscanf(r.URL.Path, "/%d", &status)
		if status == 302 {
			w.Header().Set("Location", "/200")
		}
		w.WriteHeader(status)
	})
	for _, c := range []struct {
		path, expect string
		status       int // 0: UnexpectedStatus
	}{
		{"/200", `null`, 200},
		{"/399", `null`, 399},
		{"/400", `null`, 0},
		{"/503", `null`, 0},
		{"/404", `404`, 404},
		{"/200", `404`, 0},
		{"/409", `[200,409]`, 409},
		{"/500", `[200,409]`, 0},
		{"/302", `null`, 200},
		{"/302", `302`, 302},
	} {
		m, e := run(t, `{"type":"http","url":"%s%s","expectStatus":%s}`, base, c.path, c.expect)
		switch {
		case c.status == 0 && (e == nil || e.Class != ClassStatus || !e.Retryable):
			t.Errorf("%s expecting %s: %v, %v", c.path, c.expect, m, e)
		case c.status != 0 && (e != nil || m["status"] != float64(c.status)):
			t.Errorf("%s expecting %s: %v, %v", c.path, c.expect, m, e)
		}
	}
}

// What a target says of when to come back, the back-off is told.
func TestHTTPRetryAfter(t *testing.T) {
	date := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		header http.Header
		want   time.Duration
	}{
		{http.Header{"Retry-After": {"7"}}, 7 * time.Second},
		{http.Header{"Retry-After": {" 120 "}}, 2 * time.Minute},
		{http.Header{"Retry-After": {"99999999999999999999"}}, (1<<31 - 1) * time.Second},
		{http.Header{"Retry-After": {"-5"}}, 0},
		{http.Header{"Retry-After": {"1.5"}}, 0},
		{http.Header{"Retry-After": {"soon"}}, 0},
		{http.Header{"Retry-After": {""}}, 0},
		{http.Header{}, 0},
		// By the target's own clock, which may be years off.
		{http.Header{"Retry-After": {date.Add(time.Minute).Format(http.TimeFormat)}, "Date": {date.Format(http.TimeFormat)}}, time.Minute},
		{http.Header{"Retry-After": {date.Format(http.TimeFormat)}, "Date": {date.Add(time.Hour).Format(http.TimeFormat)}}, 0},
		{http.Header{"Retry-After": {date.Format(http.TimeFormat)}, "Date": {"x"}}, 0},
	} {
		base := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			for name, lines := range c.header {
				w.Header()[name] = lines
			}
			w.WriteHeader(http.StatusServiceUnavailable)
		})
		_, e := run(t, `{"type":"http","url":%q}`, base)
		if e == nil || e.Class != ClassStatus || e.RetryAfter != c.want {
			t.Errorf("%v: %+v, want %v", c.header, e, c.want)
		}
	}
}

func TestHTTPRedirects(t *testing.T) {
	var hops atomic.Int64
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var left int
		fmt.Sscanf(r.URL.Path, "/%d", &left)
		if left > 0 {
			hops.Add(1)
			http.Redirect(w, r, fmt.Sprintf("/%d", left-1), http.StatusFound)
		}
	})
	if m, e := run(t, `{"type":"http","url":"%s/5"}`, base); e != nil || m["status"] != 200.0 {
		t.Errorf("5 redirects: %v, %v", m, e)
	}
	hops.Store(0)
	_, e := run(t, `{"type":"http","url":"%s/50"}`, base)
	if e == nil || e.Class != ClassTooManyRedirects || e.Retryable || hops.Load() != 6 {
		t.Errorf("50 redirects: %v after %d", e, hops.Load())
	}
}

// Secrets stay with the origin they were meant for, also on the way back.
func TestHTTPSecretsStayHome(t *testing.T) {
	secret := func(r *http.Request) bool {
		return r.Header.Get("Authorization")+r.Header.Get("Cookie")+r.Header.Get("X-Api-Key")+r.Header.Get("Referer") != ""
	}
	var home, away string
	var leaked, kept atomic.Bool
	away = serve(t, func(w http.ResponseWriter, r *http.Request) {
		leaked.Store(leaked.Load() || secret(r))
		http.Redirect(w, r, home+"/back", http.StatusFound)
	})
	home = serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/start":
			http.Redirect(w, r, "/inside", http.StatusFound)
		case "/inside":
			kept.Store(r.Header.Get("Authorization") != "" && r.Header.Get("X-Plain") != "")
			http.Redirect(w, r, strings.Replace(away, "http://", "http://u:p@", 1), http.StatusFound)
		case "/back":
			leaked.Store(leaked.Load() || secret(r))
		}
	})
	_, e := run(t, `{"type":"http","url":"%s/start?token=s","headers":{"Authorization":"s","Cookie":"s","X-API-Key":"s","X-Plain":"p"}}`, home)
	if e != nil {
		t.Fatal(e)
	}
	if leaked.Load() || !kept.Load() {
		t.Errorf("leaked %v, kept %v", leaked.Load(), kept.Load())
	}
}

func TestHTTPExcerpt(t *testing.T) {
	for name, body := range map[string]string{
		"exact":    strings.Repeat("x", maxExcerpt),
		"longer":   strings.Repeat("x", maxExcerpt+1),
		"split":    strings.Repeat("x", maxExcerpt-1) + "€€",
		"binary":   strings.Repeat("\xff\x00", maxExcerpt),
		"latin":    "gr\xfc\xdf",
		"endless":  strings.Repeat("0123456789abcdef", (maxBody+1<<20)/16),
		"empty":    "",
		"halfRune": "ab\xe2\x82",
	} {
		t.Run(name, func(t *testing.T) {
			base := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
			m, e := run(t, `{"type":"http","url":%q}`, base)
			if e != nil {
				t.Fatal(e)
			}
			text, _ := m["body"].(string)
			if len(text) > maxExcerpt || !utf8.ValidString(text) {
				t.Errorf("%d bytes, valid %v", len(text), utf8.ValidString(text))
			}
			if want := len(body) > maxExcerpt; m["bodyTruncated"] != want {
				t.Errorf("bodyTruncated = %v, want %v", m["bodyTruncated"], want)
			}
			if name == "split" && text != body[:maxExcerpt-1] {
				t.Errorf("ends in %q", text[len(text)-4:])
			}
			if name == "latin" && text != "gr\uFFFD" {
				t.Errorf("%q", text)
			}
		})
	}
}

func TestHTTPNetworkFaults(t *testing.T) {
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	cut := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "short")
	})
	for _, u := range []string{closed.URL, cut, "https" + strings.TrimPrefix(cut, "http")} {
		_, e := run(t, `{"type":"http","url":"%s/?token=secret"}`, u)
		if e == nil || e.Class != ClassNetwork || !e.Retryable || strings.Contains(e.Message, "secret") {
			t.Errorf("%s: %v", u, e)
		}
	}
}

func TestHTTPEndsWithItsContext(t *testing.T) {
	arrived := make(chan struct{})
	base := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("stop")
	go func() {
		<-arrived
		cancel(stop)
	}()
	_, err := NewHTTP(Options{AllowPrivateAddresses: true}).Run(ctx, json.RawMessage(fmt.Sprintf(`{"type":"http","url":%q}`, base)), jobs.Env{})
	if !errors.Is(err, stop) {
		t.Errorf("err = %v", err)
	}
}

func TestHTTPTimeout(t *testing.T) {
	base := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	h := NewHTTP(Options{AllowPrivateAddresses: true})
	spec, f := parseHTTP(json.RawMessage(fmt.Sprintf(`{"type":"http","url":%q}`, base)))
	if len(f) > 0 {
		t.Fatal(f)
	}
	_, err := h.do(ctx, spec, jobs.Env{})
	var e *jobs.ActionError
	if !errors.As(explain(ctx, spec, err), &e) || e.Class != ClassTimeout || !e.Retryable {
		t.Errorf("%v becomes %v", err, e)
	}
}

func TestShortenFits(t *testing.T) {
	r := httpResult{
		Type: "http", Status: 200, Body: strings.Repeat("\x00<é", 1000),
		Headers: map[string]any{"x": strings.Repeat("h", 300)},
	}
	for limit := 120; limit < 13000; limit += 97 {
		got, _ := r.Shorten(limit).(httpResult)
		if n := encodedLen(got); n > limit {
			t.Errorf("%d bytes at a limit of %d", n, limit)
		}
		if !utf8.ValidString(got.Body) || !got.BodyTruncated != (got.Body == r.Body) && limit < 9000 {
			t.Errorf("limit %d: %+v", limit, got)
		}
	}
}

func TestRedirectKeepsBody(t *testing.T) {
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/a" {
			http.Redirect(w, r, "/b", http.StatusPermanentRedirect)
			return
		}
		_, _ = io.Copy(w, r.Body)
	})
	m, e := run(t, `{"type":"http","method":"POST","url":"%s/a","body":"again"}`, base)
	if e != nil || m["body"] != "again" {
		t.Errorf("%v, %v", m, e)
	}
}

func TestHTTPIgnoresProxyOfEnvironment(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://192.0.2.1:1")
	t.Setenv("HTTPS_PROXY", "http://192.0.2.1:1")
	base := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.Copy(w, bytes.NewBufferString("direct")) })
	if NewHTTP(Options{}).transport.Proxy != nil {
		t.Fatal("the transport asks for a proxy")
	}
	if m, e := run(t, `{"type":"http","url":%q}`, base); e != nil || m["body"] != "direct" {
		t.Errorf("%v, %v", m, e)
	}
}

// What http is answered has no secrets of its job, also where the excerpt ends, nor has what
// went wrong.
func TestHTTPTellsNoSecrets(t *testing.T) {
	const secret = "can'ary& 4f7a"
	var secrets redact.Redactor
	secrets.Add(secret)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Told", "it is "+secret)
		w.Header().Add("Set-Cookie", "a="+url.QueryEscape(secret))
		w.Header().Set("Content-Type", "text/plain; charset="+r.URL.Query().Get("charset"))
		switch text := strings.Repeat("x", maxExcerpt-4) + secret + "y"; r.URL.Path {
		case "/utf-16":
			for _, c := range text {
				_, _ = w.Write([]byte{byte(c), 0})
			}
		case "/away":
			http.Redirect(w, r, "http://4f7asecret.invalid/", http.StatusSeeOther)
		default:
			_, _ = io.WriteString(w, text)
		}
	}))
	defer site.Close()
	secrets.Add("4f7asecret")
	for path, charset := range map[string]string{"/": "utf-8", "/1": "iso-8859-1", "/utf-16": "utf-16le"} {
		raw := json.RawMessage(`{"type":"http","url":"` + site.URL + path + `?charset=` + charset + `"}`)
		v, err := Builtin(Options{AllowPrivateAddresses: true}).Run(t.Context(), raw, jobs.Env{Redactor: &secrets})
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(v)
		if err != nil || strings.Contains(string(text), "4f7a") || strings.Contains(string(text), "can") || !strings.Contains(string(text), `"x-told":"it is ***"`) ||
			!strings.Contains(string(text), `"set-cookie":["a=***"]`) || !strings.Contains(string(text), `xxx***","bodyTruncated":true`) {
			t.Errorf("%s: %s, %v", path, text, err)
		}
	}
	raw := json.RawMessage(`{"type":"http","url":"` + site.URL + `/away"}`)
	if _, err := Builtin(Options{AllowPrivateAddresses: true}).Run(t.Context(), raw, jobs.Env{Redactor: &secrets}); err == nil || strings.Contains(err.Error(), "4f7a") || !strings.Contains(err.Error(), "***") {
		t.Errorf("a redirect: %v", err)
	}
}

package screen_test

import (
	"encoding/json"
	"fmt"
	"image/jpeg"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/e2e/program"
	"github.com/jobcast/jobcast/jobs/action/browser"
	"github.com/jobcast/jobcast/server/servertest"
	"github.com/jobcast/jobcast/transport/transporttest"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == browser.JailCommand {
		fmt.Fprintln(os.Stderr, browser.Inside(os.Args[2:]))
		os.Exit(1)
	}
	servertest.Main(m)
}

// patience bounds what browsers and jobs take.
const patience = 30 * time.Second

// watcher looks at pictures.
type watcher struct {
	program.Caller
}

// ask asks for a live picture; query begins with its question mark, if there is one.
func (w watcher) ask(method, job, query string) *http.Response {
	w.Helper()
	req, err := http.NewRequestWithContext(w.Context(), method, "http://"+w.Addr+"/v1/jobs/"+job+"/screen"+query, nil)
	if err != nil {
		w.Fatal(err)
	}
	if query == "" {
		req.Header.Set("Authorization", "Bearer "+w.Key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// refused checks a refusal, and returns its text.
func (w watcher) refused(job, query string, status int, code string) string {
	w.Helper()
	resp := w.ask(http.MethodGet, job, query)
	text, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != status || !strings.Contains(string(text), `"code":"`+code+`"`) {
		w.Errorf("%d %s, want %d %s", resp.StatusCode, text, status, code)
	}
	return string(text)
}

// picture is a live picture under way.
type picture struct {
	w     watcher
	parts *multipart.Reader
}

// look waits until the job has a browser.
func (w watcher) look(job, query string) picture {
	w.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		resp := w.ask(http.MethodGet, job, query)
		kind, params, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
		if err == nil && kind == "multipart/x-mixed-replace" && resp.StatusCode == http.StatusOK {
			if cache := resp.Header.Get("Cache-Control"); cache != "no-store" {
				w.Errorf("Cache-Control: %s", cache)
			}
			return picture{w, multipart.NewReader(resp.Body, params["boundary"])}
		}
		if resp.StatusCode != http.StatusConflict || time.Now().After(deadline) {
			w.Fatalf("the live picture: %s", resp.Status)
		}
	}
}

// frame reads a frame; false: the body has ended as it should.
func (p picture) frame() bool {
	p.w.Helper()
	part, err := p.parts.NextPart()
	if err == io.EOF {
		return false
	}
	if err != nil {
		p.w.Fatal(err)
	}
	if _, err := jpeg.Decode(part); err != nil || part.Header.Get("Content-Type") != "image/jpeg" {
		p.w.Fatalf("a frame: %v, %v", part.Header, err)
	}
	return true
}

// ends reads until the body ends.
func (p picture) ends() {
	p.w.Helper()
	for deadline := time.Now().Add(patience); p.frame(); {
		if time.Now().After(deadline) {
			p.w.Fatal("the live picture goes on")
		}
	}
}

// TestScreen: who may watch a job sees its browser, as long as it has one.
func TestScreen(t *testing.T) {
	b := servertest.Start(t, transporttest.Options{MaxConnections: 2}, "--allow-private-addresses")
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		if src := r.FormValue("src"); src != "" {
			fmt.Fprintf(w, `<img src="%s">`, src)
			return
		}
		fmt.Fprint(w, `<body><script>let n = 0; setInterval(() => { document.body.style.background = n++ % 2 ? 'red' : 'green' }, 20)</script>`)
	}))
	defer site.Close()
	as := func(client string, scopes ...auth.Scope) (watcher, string) {
		id, key := b.Key(client, auth.KeyOptions{}, scopes...)
		return watcher{program.Caller{T: t, Addr: b.Addr(), Key: key}}, id
	}
	acme, acmeID := as("acme", auth.Submit, auth.Watch)
	other, otherID := as("acme", auth.Watch)
	umbra, _ := as("umbra", auth.Watch)
	blind, _ := as("acme", auth.Submit)
	submit := func(steps string, headers ...string) string {
		return acme.Call("POST", "/v1/jobs", strings.NewReader(`{"maxAttempts":1,"steps":[`+steps+`]}`), headers...).Body.ID
	}
	job := submit(`{"type":"setViewport","width":640,"height":400,"deviceScaleFactor":1},{"type":"navigate","url":"` + site.URL + `"},{"type":"wait","ms":600000}`)
	later := submit(`{"type":"wait","ms":600000},{"type":"navigate","url":"` + site.URL + `"}`)
	acme.refused(later, "", 409, "conflict")

	one := acme.look(job, "")
	one.frame()
	two := other.look(job, "")
	for range 3 {
		one.frame()
		two.frame()
	}
	if resp := acme.ask(http.MethodHead, job, ""); resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "multipart/x-mixed-replace; boundary=") {
		t.Errorf("HEAD: %s %v", resp.Status, resp.Header)
	}
	acme.look(job, "").frame()
	acme.refused(job, "", 429, "connection_limit")
	if n := b.Live(acmeID); n != 2 {
		t.Errorf("%d slots are taken, want 2", n)
	}
	umbra.refused(job, "", 404, "not_found")
	blind.refused(job, "", 403, "forbidden")
	acme.refused("nonsense", "", 404, "not_found")
	acme.refused(job, "?token=jct_x", 401, "unauthenticated")
	var token struct{ Token string }
	if err := json.Unmarshal([]byte(other.Call("POST", "/v1/tokens", strings.NewReader(`{"jobId":"`+job+`"}`)).Text), &token); err != nil {
		t.Fatal(err)
	}
	other.refused(later, "?token="+token.Token, 404, "not_found")
	if figures := metrics(t, b); !strings.Contains(figures, `jobcast_connections{transport="screen"} 3`) {
		t.Errorf("figures without the live pictures: %s", figures)
	}

	// A browser shows it in an img.
	img := site.URL + "/?src=http://" + acme.Addr + "/v1/jobs/" + job + "/screen?token=" + token.Token
	shown := submit(`{"type":"navigate","url":"`+img+`"},{"type":"waitForElement","selector":"img","properties":{"naturalWidth":640}}`, "Prefer: wait=60")
	if r := acme.Call("GET", "/v1/jobs/"+shown, nil); r.Body.Status != "completed" {
		t.Errorf("an img: %s", r.Text)
	}

	b.Revoke(otherID)
	two.ends()
	if r := acme.Call("POST", "/v1/jobs/"+job+"/cancel", nil); r.Status != 200 {
		t.Errorf("cancel: %s", r.Text)
	}
	one.ends()
	if text := acme.refused(job, "", 409, "conflict"); !strings.Contains(text, `"status":"cancelled"`) {
		t.Errorf("a job that has ended: %s", text)
	}
	last := acme.look(submit(`{"type":"navigate","url":"`+site.URL+`"},{"type":"wait","ms":600000}`), "")
	last.frame()
	if err := b.Stop(); err != nil {
		t.Error(err)
	}
	last.ends()
}

func metrics(t *testing.T, b *servertest.Server) string {
	return program.Caller{T: t, Addr: b.Addr()}.Call("GET", "/metrics", nil).Text
}

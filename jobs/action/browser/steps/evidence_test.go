package steps

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"image"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobcast/jobcast/jobs"
)

// keepFailure runs a step that fails, and keeps its evidence.
func (p *player) keepFailure(ctx context.Context, step string) {
	p.t.Helper()
	_, err := p.play(step)
	if err == nil {
		p.t.Fatalf("%s: no error", step)
	}
	clear(p.files)
	env := p.env()
	env.Attempt, env.Index = 2, 4
	save := env.Save
	env.Save = func(ctx context.Context, name, contentType string, size int64, r io.Reader) (jobs.Artifact, error) {
		if ctx.Err() != nil {
			return jobs.Artifact{}, ctx.Err()
		}
		return save(ctx, name, contentType, size, r)
	}
	p.session.KeepFailure(ctx, err, env)
}

// records are the lines of failure.ndjson, without what differs from run to run.
func (p *player) records(site string) (all []string) {
	for line := range strings.Lines(string(p.files["failure.ndjson"])) {
		var r map[string]any
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			p.t.Fatal(err)
		}
		delete(r, "time")
		raw, err := json.Marshal(r)
		if err != nil {
			p.t.Fatal(err)
		}
		all = append(all, strings.ReplaceAll(string(raw), site, "SITE"))
	}
	return all
}

func names(files map[string][]byte) string {
	var all []string
	for name := range files {
		all = append(all, name)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// Of a failure a picture, the document and what has happened are kept, without what nobody
// may see.
func TestFailure(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.mux.HandleFunc("/none", http.NotFound)
	s.mux.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = conn.Close()
		}
	})
	s.page("/leaf", `<p>leaf <input type=password value=nested7></p>`)
	s.page("/shop", `<meta http-equiv=Refresh content="900"><noscript><meta http-equiv=refresh content=9></noscript><p title="a&amp;&quot;">tea &amp; biscuits</p><input type=password value=hunter2>
		<input id=i oninput="setAttribute('value', value)"><textarea id=a>old</textarea><div id=d></div><iframe src="/leaf"></iframe>
		<script>d.attachShadow({mode: 'open'}).innerHTML = '<b>shadow</b>'; console.error('if (a < b)'); console.log('tea & biscuits')
			document.body.append(document.createComment('--><b>'))
			fetch('/none').then(() => fetch('/cut', {method: 'PUT'})).catch(() => { done.textContent = 'done' })</script><i id=done></i>`)
	p := newPlayer(t, Config{})
	p.session.soon = time.Minute
	p.session.secrets.Add("tea & biscuits")
	p.session.secrets.Add("typed")
	p.must(open(s.URL+"/shop?tea+%26%20biscuits"), `{"type":"waitForElement","selector":"text=done"}`,
		`{"type":"change","selector":"#i","value":"typed"}`)
	p.keepFailure(t.Context(), `{"type":"click","selector":"#buy","timeout":200}`)
	if got := names(p.files); got != "failure.html failure.ndjson failure.png" {
		t.Fatal(got)
	}
	if config, format, err := image.DecodeConfig(bytes.NewReader(p.files["failure.png"])); err != nil || format != "png" || config.Width == 0 {
		t.Errorf("%+v %s, %v", config, format, err)
	}
	html := string(p.files["failure.html"])
	for _, want := range []string{
		`default-src 'none'`, `<p title="a&amp;&quot;">***</p><input type="password" value="***">`, `<input id="i" oninput="setAttribute('value', value)" value="***">`,
		`<template shadowrootmode="open"><b>shadow</b></template>`, `console.error('if (a < b)')`, `<!----&gt;<b&gt;-->`,
		`<template data-frame><!-- ` + s.URL + `/leaf --><html>`, `<p>leaf <input type="password" value="***">`, s.URL + "/shop?***",
	} {
		if !strings.Contains(html, want) {
			t.Errorf("no %s in %s", want, html)
		}
	}
	if strings.Contains(strings.ToLower(html), "refresh") || strings.Contains(html, "hunter2") || strings.Contains(html, "nested7") {
		t.Error(html)
	}
	got := p.records(s.URL)
	for _, want := range []string{
		`{"action":1,"step":"navigate","type":"step"}`, `{"status":200,"type":"navigation","url":"SITE/shop?***"}`,
		`{"at":"SITE/shop?***:3:79","level":"error","text":"if (a `, `{"at":"SITE/shop?***:3:108","level":"info","text":"***","type":"console"}`,
		`{"method":"GET","status":404,"type":"request","url":"SITE/none"}`, `{"at":"SITE/none","level":"error","text":"Failed to load resource: `,
		`{"error":"net::ERR_EMPTY_RESPONSE","method":"PUT","type":"request","url":"SITE/cut"}`, `{"action":1,"step":"click","type":"step"}`,
	} {
		if !slices.ContainsFunc(got, func(line string) bool { return strings.HasPrefix(line, want) }) {
			t.Errorf("no %s in %s", want, strings.Join(got, "\n"))
		}
	}
	if want := `{"action":5,"attempt":2,"error":"TimeoutError","errorMessage":"Waiting for selector \"#buy\" failed: 200ms exceeded (no element matches)",` +
		`"saved":["failure.png","failure.html"],"type":"failure"}`; got[len(got)-1] != want {
		t.Errorf("%s, want %s", got[len(got)-1], want)
	}
}

// What cannot be had is left out, and nothing is kept of a job that was cancelled.
func TestFailureInPart(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.page("/", `<input id=a value=`+strings.Repeat("x", maxDocument)+`>`)
	p := newPlayer(t, Config{})
	p.session.late = time.Minute
	fails := `{"type":"click","selector":"#b","timeout":50}`
	p.must(open(s.URL))
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("cancelled"))
	p.keepFailure(ctx, fails)
	if got := names(p.files); got != "" {
		t.Errorf("of a cancelled job: %s", got)
	}
	ctx, cancel = context.WithCancelCause(t.Context())
	cancel(jobs.ErrTimedOut)
	p.keepFailure(ctx, fails)
	if got, n := names(p.files), len(p.files["failure.html"]); got != "failure.html failure.ndjson failure.png" || n != maxDocument {
		t.Errorf("of an attempt that took too long: %s, %d bytes", got, n)
	}
	env := p.env()
	env.Save = func(_ context.Context, name, _ string, _ int64, r io.Reader) (jobs.Artifact, error) {
		if name != recordName {
			return jobs.Artifact{}, &jobs.LimitError{What: jobs.LimitArtifacts}
		}
		return p.env().Save(t.Context(), name, "", 0, r)
	}
	p.session.KeepFailure(t.Context(), jobs.ErrTimedOut, env)
	if all := p.records(s.URL); !strings.Contains(all[len(all)-1], `"error":"TimeoutError","errorMessage":"the attempt took too long","saved":[]`) {
		t.Error(all)
	}
	p.must(`{"type":"evaluate","expression":"setTimeout(() => { for (;;); }) && 0"}`)
	p.session.late = lateTime
	began := time.Now()
	p.keepFailure(ctx, fails)
	if got, took := names(p.files), time.Since(began); got != "failure.ndjson" || took > 2*time.Second {
		t.Errorf("of a page that hangs: %s in %v", got, took)
	}
	p.crash()
	p.keepFailure(t.Context(), fails)
	if all := p.records(s.URL); names(p.files) != "failure.ndjson" || !strings.Contains(all[len(all)-1], `"error":"PageCrashed"`) {
		t.Errorf("of a page that crashed: %s, %s", names(p.files), all)
	}
}

// Of an attempt the newest records are remembered, within bounds.
func TestHistory(t *testing.T) {
	t.Parallel()
	var h history
	for i := range maxRecords + 5 {
		h.add(record{Type: "navigation", URL: strconv.Itoa(i)})
	}
	if got := string(h.text()); !strings.HasPrefix(got, `{"type":"lost","lines":5}`+"\n") || strings.Count(got, "\n") != maxRecords+1 || !strings.HasSuffix(got, `"url":"2004"}`+"\n") {
		t.Errorf("%.200s", got)
	}
	for range 200 {
		h.add(record{Type: "console", message: &message{Text: strings.Repeat("x", maxLine)}})
	}
	if n := len(h.text()); n > maxRecordBytes+50 {
		t.Errorf("%d bytes", n)
	}
}

// TestHistoryListens: no more than some messages a second are read; the others are counted.
func TestHistoryListens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h history
		for range 2 {
			heard := 0
			for range maxHeard + 7 {
				if h.listens() {
					heard++
				}
			}
			if heard != maxHeard {
				t.Errorf("%d messages were read", heard)
			}
			time.Sleep(lineWindow)
		}
		if got := string(h.text()); got != `{"type":"lost","lines":14}`+"\n" {
			t.Errorf("%s", got)
		}
	})
}

// Looking for secrets in what pages say and ask for takes a part of each second, whatever they do.
func TestSeek(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h history
		slow := func() bool { return h.seek(func() { time.Sleep(maxSought / 2) }) }
		for i := range 4 {
			if got := slow(); got != (i < 3) {
				t.Errorf("look %d: %v", i, got)
			}
		}
		if h.listens() || h.lost != 1 {
			t.Error("a message is read nevertheless")
		}
		if time.Sleep(lineWindow); !slow() || !h.listens() {
			t.Error("it does not go on")
		}
	})
}

package steps

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"image"
	_ "image/jpeg" // as a screenshot may be
	_ "image/png"  // as most are
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jobcast/jobcast/jobs"
)

// Pictures are of what the step says, and equal twice whatever moves.
func TestScreenshots(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.page("/leaf", `<body style="margin:0"><b id=b style="display:block;width:30px;height:20px;background:red"></b>`)
	s.page("/", `<style>@keyframes m { to { transform: rotate(90deg) } } #m { width: 50px; animation: 1s infinite m; background: blue }
		#once { animation: 3s m }</style><div id=m>m</div><div id=once>o</div><input autofocus><div style="height:1500px"></div>
		<iframe src="/leaf" style="border:0" width=200 height=100></iframe><p id=p style="width:70px;height:40px;margin:0">p</p>`)
	p := newPlayer(t, Config{})
	p.must(open(s.URL), `{"type":"setViewport","width":400,"height":300,"deviceScaleFactor":1}`)
	for i, c := range []struct{ step, name, size string }{
		{`"name":"view"`, "view.png", "400x300"},
		{`"name":"again"`, "again.png", "400x300"},
		{`"name":"all.JPG","fullPage":true,"format":"jpeg","quality":30`, "all.JPG", "400x"},
		{`"name":"p","selector":"#p"`, "p.png", "70x40"},
		{`"name":"b","selector":"#b","frame":[0]`, "b.png", "30x20"},
	} {
		if i == 1 {
			p.must(`{"type":"customStep","name":"jobcast.press","parameters":{"key":"Tab"}}`)
		}
		got := p.must(`{"type":"screenshot",` + c.step + `}`)
		if want := `{"type":"screenshot","artifact":"` + c.name + `"}`; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		config, _, err := image.DecodeConfig(bytes.NewReader(p.files[c.name]))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if size := strconv.Itoa(config.Width) + "x" + strconv.Itoa(config.Height); !strings.HasPrefix(size, c.size) {
			t.Errorf("%s is %s, want %s", c.name, size, c.size)
		}
	}
	red, _, err := image.Decode(bytes.NewReader(p.files["b.png"]))
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []image.Point{{0, 0}, {29, 19}} {
		if r, g, _, _ := red.At(at.X, at.Y).RGBA(); r != 0xffff || g != 0 {
			t.Errorf("%v is not red", at)
		}
	}
	p.must(`{"type":"screenshot","name":"x"}`, `{"type":"screenshot","name":"y"}`)
	if !bytes.Equal(p.files["x.png"], p.files["y.png"]) {
		t.Error("two pictures differ")
	}
	again := newPlayer(t, Config{})
	again.must(open(s.URL), `{"type":"setViewport","width":400,"height":300,"deviceScaleFactor":1}`, `{"type":"screenshot","name":"view"}`)
	if !bytes.Equal(again.files["view.png"], p.files["view.png"]) {
		t.Error("another attempt's picture differs")
	}
	got := p.must(`{"type":"pdf","name":"page","format":"A5","landscape":true,"background":true}`)
	if want := `{"type":"pdf","artifact":"page.pdf"}`; got != want || !bytes.HasPrefix(p.files["page.pdf"], []byte("%PDF-")) ||
		!bytes.HasSuffix(bytes.TrimSpace(p.files["page.pdf"]), []byte("%%EOF")) {
		t.Errorf("%s, %d bytes", got, len(p.files["page.pdf"]))
	}
}

// What is extracted is JSON of the shape that the step asks for, and bounded.
func TestExtract(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.page("/", `<p class=c data-x=1>One <b>two</b></p><p class=c>Three</p><input id=i value=v><select id=s multiple><option selected>a<option selected>b</select>
		<table id=t><tr><th>Tea<th>Price<tr><td>Green<td>3 <i>EUR</i><table><tr><td>in</table></table><pre id=large></pre>
		<script>large.textContent = 'ü'.repeat(40000)</script>`)
	p := newPlayer(t, Config{})
	p.must(open(s.URL))
	for step, want := range map[string]string{
		`"selector":".c"`:               `"One two"`,
		`"selector":".c","all":true`:    `["One two","Three"]`,
		`"selector":".c","what":"html"`: `"<p class=\"c\" data-x=\"1\">One <b>two</b></p>"`,
		`"selector":".c","what":"attribute","attribute":"data-x","all":true`: `["1",null]`,
		`"selector":"#i","what":"value"`:                                     `"v"`,
		`"selector":"#s","what":"value"`:                                     `["a","b"]`,
		`"selector":"#t","what":"table"`:                                     `[["Tea","Price"],["Green","3 EUR in"]]`,
	} {
		got := p.must(`{"type":"extract","name":"x",` + step + `}`)
		if got != `{"type":"extract","name":"x"}` || p.data["x"] != want {
			t.Errorf("%s: %s, %s, want %s", step, got, p.data["x"], want)
		}
	}
	p.fails(`{"type":"extract","name":"x","selector":"#large"}`,
		"ResultTooLarge: what the step keeps of \"#large\" is larger than 32768 bytes: keep less, or an artifact")
	p.must(`{"type":"evaluate","name":"e","expression":"Promise.resolve({a: [1, location.pathname]})"}`)
	if p.data["e"] != `{"a":[1,"/"]}` {
		t.Error(p.data["e"])
	}
	p.must(`{"type":"evaluate","expression":"large.textContent"}`) // which nobody keeps
	p.fails(`{"type":"evaluate","name":"e","expression":"[large.textContent]"}`, "ScriptError: RangeError: the value is too large for the result")
	p.fails(`{"type":"evaluate","expression":"nothing.at.all"}`, "ScriptError: ReferenceError: nothing is not defined")
}

// Steps wait for elements in any number, for the network, for an expression.
func TestWaiting(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	hold := make(chan struct{})
	s.page("/", `<p class=c title=a>1</p><p class=c hidden>2</p><input id=i value=v><script>
		fetch('/held').then(() => { done = true }); new EventSource('/stream')
	</script>`)
	s.mux.HandleFunc("/held", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hold:
		case <-r.Context().Done():
		}
	})
	s.mux.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	p := newPlayer(t, Config{})
	p.must(open(s.URL))
	for _, step := range []string{
		`"selector":".c"`, `"selector":".c","count":2,"operator":"=="`, `"selector":".c","count":1,"operator":"==","visible":true`,
		`"selector":".c","count":1,"operator":"==","visible":false`, `"selector":".d","count":0,"operator":"=="`,
		`"selector":".c","attributes":{"title":"a"},"count":1,"operator":"=="`, `"selector":"#i","properties":{"value":"v","style":{"color":""}}`,
	} {
		p.must(`{"type":"waitForElement",` + step + `}`)
	}
	p.fails(`{"type":"waitForElement","selector":".c","count":1,"operator":"<=","timeout":700}`,
		`TimeoutError: Waiting for selector ".c" failed: 700ms exceeded (2 elements match)`)
	p.fails(`{"type":"waitForElement","selector":".c","attributes":{"title":"b"},"timeout":700}`,
		`TimeoutError: Waiting for selector ".c" failed: 700ms exceeded (no element matches)`)
	p.fails(`{"type":"waitForNetworkIdle","idleMs":50,"timeout":400}`,
		`TimeoutError: Waiting for the network to be idle for 50ms failed: 400ms exceeded (1 requests are open)`)
	close(hold)
	p.must(`{"type":"waitForNetworkIdle","idleMs":50}`, `{"type":"waitForExpression","expression":"done"}`)
	p.fails(`{"type":"waitForExpression","expression":"done == 2","timeout":500}`,
		`TimeoutError: Waiting for selector "expression" failed: 500ms exceeded (it is false)`)
}

// Headers, cookies, the window and the network are as steps have set them.
func TestSettings(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, r.Header.Get("X-Test")+" "+r.Header.Get("Cookie"))
	})
	p := newPlayer(t, Config{})
	p.must(`{"type":"setHeaders","headers":{"X-Test":"tea"}}`,
		`{"type":"setCookies","cookies":[{"name":"a","value":"b","url":"`+s.URL+`"}]}`,
		`{"type":"setViewport","width":500,"height":400,"deviceScaleFactor":2,"isMobile":true,"hasTouch":true,"isLandscape":true}`,
		`{"type":"emulateNetworkConditions","download":-1,"upload":-1,"latency":200}`, open(s.URL))
	p.says("document.body.textContent", "tea a=b")
	p.secrets = map[string]jobs.Secret{"old": {Value: "line\nbreak"}}
	p.fails(`{"type":"setCookies","cookies":[{"name":"c","value":{"secret":"old"},"url":"`+s.URL+`"}]}`, `InvalidValue: the cookie "c" cannot have this value`)
	p.fails(`{"type":"setHeaders","headers":{"X":{"secret":"old"}}}`, `InvalidValue: the header X cannot have this value`)
	p.fails(`{"type":"setCookies","cookies":[{"name":"__Host-c","value":"d","url":"`+s.URL+`"}]}`, `InvalidValue: the browser does not take these cookies (Invalid cookie fields)`)
	p.says("[devicePixelRatio, 'ontouchstart' in window, screen.orientation.type].join()", "2,true,landscape-primary")
	p.says("performance.getEntriesByType('navigation')[0].responseEnd > 200", "true")
}

// Files go into pages and come out of them.
func TestFiles(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.page("/", `<input id=f type=file style="display:none"><p id=p>x</p><a id=a href="/file">file</a><a id=c download href="/late.txt">late</a><a id=b download="../b?.txt" href="data:text/plain,blob">blob</a>
		<button id=popup onclick="window.open('/file')">popup</button>`)
	s.mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Disposition", `attachment; filename="tea list.csv"`)
		_, _ = io.WriteString(w, "a,b")
		_ = http.NewResponseController(w).Flush()
		wait(r, 50*time.Millisecond)
		_, _ = io.WriteString(w, ",c")
	})
	s.mux.HandleFunc("/late.txt", func(_ http.ResponseWriter, r *http.Request) { wait(r, 300*time.Millisecond) })
	folder := t.TempDir()
	refusal := errors.New("no such artifact")
	p := newPlayer(t, Config{
		Folder: folder, Inside: folder,
		Artifact: func(_ context.Context, name string) (io.ReadCloser, error) {
			if name == "none" {
				return nil, refusal
			}
			return io.NopCloser(strings.NewReader("kept")), nil
		},
		Fetch: func(_ context.Context, url string) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader("of " + url)), nil
		},
	})
	other := newPlayer(t, Config{Folder: t.TempDir(), Inside: t.TempDir()})
	p.must(open(s.URL), `{"type":"upload","selector":"#f","artifact":"tea.txt"}`)
	p.says("f.files[0].text().then((text) => f.files[0].name + ' ' + text)", "tea.txt kept")
	p.must(`{"type":"upload","selector":"#f","url":"https://a.test/x/y.bin?z"}`)
	p.says("f.files[0].text().then((text) => f.files[0].name + ' ' + text)", "y.bin of https://a.test/x/y.bin?z")
	p.fails(`{"type":"upload","selector":"#p","artifact":"a"}`, `InvalidValue: "#p" is not a file input`)

	for step, want := range map[string]string{
		`{"type":"click","selector":"#a"}`:               `{"type":"click","downloads":["tea_list.csv"]}`,
		`{"type":"click","selector":"#c"}`:               `{"type":"click","downloads":["late.txt"]}`,
		`{"type":"click","selector":"#b"}`:               `{"type":"click","downloads":["_b_.txt"]}`,
		`{"type":"navigate","url":"` + s.URL + `/file"}`: `{"type":"navigate","downloads":["tea_list.csv"]}`,
	} {
		if got := p.must(step); got != want {
			t.Errorf("%s: %s, want %s", step, got, want)
		}
	}
	if got := string(p.files["tea_list.csv"]) + " " + string(p.files["_b_.txt"]); got != "a,b,c blob" {
		t.Errorf("%q", got)
	}
	if got := other.must(`{"type":"reload"}`); strings.Contains(got, "tea") {
		t.Error("another job has taken the files: " + got)
	}
	raw, err := json.Marshal(p.session.down.all)
	if err != nil || string(raw) != "{}" {
		t.Errorf("%s, %v", raw, err)
	}
}

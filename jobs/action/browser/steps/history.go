package steps

import (
	"bytes"
	"strconv"
	"sync"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"

	"github.com/jobcast/jobcast/jobs"
)

// How much is remembered of an attempt: the newest.
const (
	maxRecords     = 2000
	maxRecordBytes = 512 << 10
	maxKeptURL     = 512 // bytes of a URL

	// maxHeard bounds, in each lineWindow, the messages of all pages that are read: to look
	// for secrets takes time, and all pages wait meanwhile.
	maxHeard = 2 * windowLines
	// maxSought bounds the time for that in each lineWindow, also in what pages ask for.
	maxSought = 250 * time.Millisecond
)

// record is one line of what has happened in an attempt.
type record struct {
	Time jobs.Time `json:"time"`
	Type string    `json:"type"` // step, navigation, request, console, exception, browser, failure

	Attempt int    `json:"attempt,omitempty"`
	Action  int    `json:"action,omitempty"` // place in the job's list: 1, 2, …
	Step    string `json:"step,omitempty"`   // its type

	*message

	Method  string   `json:"method,omitempty"`
	URL     string   `json:"url,omitempty"`
	Status  int64    `json:"status,omitempty"`
	Error   string   `json:"error,omitempty"` // why a request or a navigation failed; the class of a failure
	Message string   `json:"errorMessage,omitempty"`
	Saved   []string `json:"saved,omitzero"` // artifacts of this failure beside this one
}

// history remembers the newest records of an attempt. It is safe for concurrent use.
type history struct {
	mu    sync.Mutex // guards what follows
	lines [][]byte
	bytes int
	lost  int

	window time.Time     // begin of the newest one
	heard  int           // messages in it
	sought time.Duration // spent in it looking for secrets
}

// listens reports whether a message may be read; one that may not is lost.
func (h *history) listens() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.opens(); h.heard == maxHeard || h.sought > maxSought {
		h.lost++
		return false
	}
	h.heard++
	return true
}

// opens begins another window if it is time. It is called with mu held.
func (h *history) opens() {
	if now := time.Now(); now.Sub(h.window) >= lineWindow {
		h.window, h.heard, h.sought = now, 0, 0
	}
}

// seek does something that looks for secrets in what a page chooses, unless too much time has
// gone into that.
func (h *history) seek(look func()) bool {
	h.mu.Lock()
	h.opens()
	enough := h.sought > maxSought
	h.mu.Unlock()
	if enough {
		return false
	}
	begun := time.Now()
	look()
	took := time.Since(begun)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sought += took
	return true
}

func (h *history) add(r record) {
	r.Time = jobs.At(time.Now())
	line := jsonLine(r)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, line)
	h.bytes += len(line)
	for len(h.lines) > maxRecords || h.bytes > maxRecordBytes {
		h.bytes -= len(h.lines[0])
		h.lines[0], h.lines = nil, h.lines[1:]
		h.lost++
	}
}

// text is all that is remembered, a line each, after one that says how many are not.
func (h *history) text() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := bytes.Join(h.lines, nil)
	if h.lost > 0 {
		return append([]byte(`{"type":"lost","lines":`+strconv.Itoa(h.lost)+"}\n"), all...)
	}
	return all
}

// request is one of a page that is open.
type request struct {
	loader      cdp.LoaderID
	method, url string
}

// sent notes what a request asks for.
func (p *tab) sent(ev *network.EventRequestWillBeSent) request {
	return request{loader: ev.LoaderID, method: p.discreet(ev.Request.Method), url: p.discreet(ev.Request.URL)}
}

// discreet is the beginning of what a request asks for, without secrets: nothing, if too many
// are looked at.
func (p *tab) discreet(text string) string {
	short := "…"
	p.session.history.seek(func() { short, _ = p.session.secrets.Cut(text, maxKeptURL) })
	return short
}

// opened returns what is known of a request that is open.
func (p *tab) opened(id network.RequestID) request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open[id]
}

// refused records an answer that says that it is none.
func (p *tab) refused(ev *network.EventResponseReceived) {
	if ev.Response.Status < 400 {
		return
	}
	p.session.history.add(record{Type: "request", Method: p.opened(ev.RequestID).method, URL: p.discreet(ev.Response.URL), Status: ev.Response.Status})
}

// lost records a request that failed.
func (p *tab) lost(ev *network.EventLoadingFailed) {
	of := p.opened(ev.RequestID)
	r := record{Type: "request", Method: of.method, URL: of.url, Error: ev.ErrorText}
	switch {
	case ev.BlockedReason != "":
		r.Error += " (blocked: " + string(ev.BlockedReason) + ")"
	case ev.CorsErrorStatus != nil:
		r.Error += " (CORS: " + string(ev.CorsErrorStatus.CorsError) + ")"
	}
	p.session.history.add(r)
}

// came records a document that the page has come to.
func (p *tab) came(now progress) {
	url, _ := p.session.secrets.Cut(now.url, maxKeptURL)
	p.session.history.add(record{Type: "navigation", URL: url, Status: now.status, Error: now.failed})
}

package steps

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"

	"github.com/jobcast/jobcast/jobs"
)

// Names of what is kept of a failure.
const (
	pictureName  = "failure.png"
	documentName = "failure.html"
	recordName   = "failure.ndjson"
)

// What keeping it may cost.
const (
	saveTime    = 6 * time.Second        // a third each for the picture, the document, and saving it
	lateTime    = 750 * time.Millisecond // the same once the attempt's time is over; it is abandoned after a second
	maxShot     = 16 << 20               // bytes
	maxDocument = 1 << 20
	maxFrames   = 20 // of a page in its document
)

// KeepFailure keeps what is known of the attempt as artifacts: a picture of the page that
// its last step was about, its document, and what was recorded. failure is what the client
// will read. What cannot be had in time, or finds no room, is left out; if ctx ends, all of
// it, unless the attempt's time is over.
func (s *Session) KeepFailure(ctx context.Context, failure error, env jobs.Env) {
	if env.Save == nil {
		return
	}
	limit := s.soon
	if ctx.Err() != nil {
		if !errors.Is(context.Cause(ctx), jobs.ErrTimedOut) {
			return
		}
		ctx, limit = context.WithoutCancel(ctx), s.late
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	r := &run{Session: s, page: s.about, env: env}
	if r.page.gone() {
		r.page = s.main
	}
	last := failed(failure, env)
	keep := func(name, contentType string, of func() ([]byte, error)) {
		var content []byte
		var err error
		within, cancel := context.WithTimeout(ctx, limit/3)
		if r.ctx = within; !r.page.gone() {
			content, err = of()
		}
		cancel()
		if err != nil || len(content) == 0 {
			return
		}
		if _, err := env.Save(ctx, name, contentType, int64(len(content)), bytes.NewReader(content)); err == nil {
			last.Saved = append(last.Saved, name)
		}
	}
	keep(pictureName, "image/png", r.picture)
	keep(documentName, "text/html; charset=utf-8", r.document)
	s.history.add(last)
	all := s.history.text()
	_, _ = env.Save(ctx, recordName, "application/x-ndjson", int64(len(all)), bytes.NewReader(all)) // there is no room
}

// failed is the record of a failure.
func failed(failure error, env jobs.Env) record {
	r := record{
		Type: "failure", Attempt: env.Attempt, Action: env.Index + 1, Saved: []string{},
		Error: jobs.ClassTimeout, Message: failure.Error(), // of an attempt whose time is over
	}
	var known *jobs.ActionError
	if errors.As(failure, &known) {
		r.Error, r.Message = known.Class, known.Message
	}
	return r
}

// picture is what is in view.
func (r *run) picture() ([]byte, error) {
	if r.maskFields(); r.ctx.Err() != nil {
		return nil, r.ctx.Err()
	}
	shot, err := call(r, page.CaptureScreenshot, page.CaptureScreenshotParams{Format: page.CaptureScreenshotFormatPng})
	if err != nil || len(shot.Data) > maxShot {
		return nil, err
	}
	return shot.Data, nil
}

// documentHead begins a document that is kept. Whoever opens it later loads nothing with
// it, and runs nothing.
const documentHead = `<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:">
`

// document is the page's document, and those of its frames, as HTML.
func (r *run) document() ([]byte, error) {
	tree, err := call(r, page.GetFrameTree, cdp.Empty{})
	if err != nil {
		return nil, err
	}
	var out strings.Builder
	out.WriteString(documentHead)
	main := true
	for _, f := range r.frames(tree.FrameTree) {
		var html string
		if err := f.enter(r.ctx); err != nil {
			continue // it is gone
		}
		if err := r.invoke(f, "html", &html, maxDocument); err != nil {
			continue
		}
		if !main {
			html = "<template data-frame>" + html + "</template>"
		}
		out.WriteString(html + "\n")
		if main = false; out.Len() > maxDocument {
			break
		}
	}
	if main {
		return nil, r.ctx.Err()
	}
	text, _ := r.secrets.Cut(out.String(), maxDocument)
	return []byte(text), nil
}

// frames are those of the page, its own first, and iframes that have processes of their own.
func (r *run) frames(tree *page.FrameTree) []*frame {
	var all []*frame
	var add func(*page.FrameTree)
	add = func(t *page.FrameTree) {
		if len(all) < maxFrames {
			all = append(all, &frame{tab: r.page, id: t.Frame.ID})
			for _, child := range t.ChildFrames {
				add(child)
			}
		}
	}
	add(tree)
	for _, p := range r.pages() {
		if p.inner && !p.gone() && len(all) < maxFrames {
			all = append(all, &frame{tab: p, id: cdp.FrameID(p.target.TargetID)})
		}
	}
	return all
}

// jsonLine is a value as a line of JSON.
func jsonLine(v any) []byte {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if encoder.Encode(v) != nil { // strings and numbers always encode
		return nil
	}
	return out.Bytes()
}

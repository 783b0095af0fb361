package steps

import (
	"github.com/chromedp/cdproto/cdp"
)

// holds notes that a frame has a field that may have to be hidden: page.js hides those
// that were password fields when something was typed into them.
func (r *run) holds(e found) { e.frame.tab.fields[e.frame.id] = true }

// maskFields hides the fields of all pages before a picture is taken, whatever the pages
// have done to them since they were filled.
func (r *run) maskFields() {
	for _, p := range r.pages() {
		for id := range p.fields {
			f := &frame{tab: p, id: id}
			err := f.enter(r.ctx)
			if err == nil {
				err = r.invoke(f, "mask", nil)
			}
			if err != nil && r.ctx.Err() == nil { // the frame is gone, and its fields with it
				f.leave()
				delete(p.fields, id)
			}
		}
	}
}

// fields are the frames of a page that have fields to hide.
type fields map[cdp.FrameID]bool

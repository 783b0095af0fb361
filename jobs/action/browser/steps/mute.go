package steps

import (
	"context"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"

	"github.com/jobcast/jobcast/jobs"
)

const (
	// saidRate is how many messages of a page a second are not too many, and maxSaid how many
	// more there may be of them. All pages wait in one line, through which the browser brings
	// some 15,000 a second.
	saidRate = 500
	maxSaid  = 2000
	// muteTime is how long a page may take to fall silent.
	muteTime = time.Second
)

// loud reports whether the page has said more than it may. From then on nobody listens to it.
func (p *tab) loud() bool {
	p.mu.Lock()
	loud, now, ctx := p.mute, time.Now(), p.hearing
	p.said = max(0, p.said-now.Sub(p.heard).Seconds()*saidRate) + 1
	p.heard = now
	p.mute = loud || p.said > maxSaid
	begins := p.mute && !loud && ctx != nil // else attach will see to it
	loud = p.mute
	p.mu.Unlock()
	if begins {
		p.later(ctx, p.silence)
	}
	return loud
}

// silence has the browser pass on nothing more of what the page says. A page that does not
// take this, because its script logs without a pause, or so much that the answer does not
// come through, is ended.
func (p *tab) silence(ctx context.Context) error {
	m := message{Kind: "browser", Level: "warn", Text: "jobcast listens no more to a page that logs without end"}
	p.session.history.add(record{Type: m.Kind, message: &m})
	if p.session.console != nil {
		p.session.console.add(m)
	}
	limited, cancel := context.WithTimeout(ctx, muteTime)
	defer cancel()
	_, err := cdp.Call(limited, p.target, runtime.Disable, cdp.Empty{})
	if err == nil {
		_, err = cdp.Call(limited, p.target, log.Disable, cdp.Empty{})
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	p.breakOff(&jobs.ActionError{Class: ClassCrashed, Message: "the page was ended because it logs without end", Retryable: true}, true)
	limited, cancel = context.WithTimeout(ctx, muteTime) // there is no answer
	defer cancel()
	_, err = cdp.Call(limited, p.target, page.Crash, cdp.Empty{})
	return err
}

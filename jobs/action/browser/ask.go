package browser

import (
	"context"
	"errors"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/chromedp"
)

// ask ends the browser if it answers nobody any more: one page whose messages are stuck
// holds up all others' pages.
func (c *chromium) ask() {
	tick := time.NewTicker(c.o.patience / 2)
	defer tick.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-tick.C:
		}
		if c.unused() {
			continue // whoever opens the next context will see
		}
		ctx, cancel := context.WithTimeout(c.ctx, c.o.patience)
		_, err := chromedp.CallBrowser(ctx, browser.GetVersion, cdp.Empty{})
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			c.o.Logger.Warn("the browser does not answer and is ended", "pid", c.pid)
			c.kill(nil, unresponsive)
		}
	}
}

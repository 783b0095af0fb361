package steps

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestQuiet: a page does not report how its document changes.
func TestQuiet(t *testing.T) {
	s := newSite(t)
	s.page("/", `<h1>quiet</h1><script>for (let i = 0; i < 100; i++) document.body.append(document.createElement("p"))</script>`)
	p := newPlayer(t, Config{})
	var heard atomic.Int64
	err := chromedp.Listen(p.tab, func(ev any) {
		if strings.HasPrefix(fmt.Sprintf("%T", ev), "*dom.") {
			heard.Add(1)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	p.must(open(s.URL), open(s.URL+"/?again"))
	p.says("document.querySelectorAll('p').length", "100")
	if n := heard.Load(); n > 0 {
		t.Errorf("it reported %d changes", n)
	}
}

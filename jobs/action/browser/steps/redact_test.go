package steps

import (
	"strings"
	"testing"
)

// What a session tells of pages has no secrets: neither results nor failures.
func TestDiscretion(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	covers := strings.Repeat("a", maxDescribed-5)
	s.page("/", `<p id=p>it is tea &amp; biscuits</p><button>b</button><div class="`+covers+`tea &amp; biscuits" style="position:fixed;inset:0"></div>`)
	p := newPlayer(t, Config{})
	p.session.secrets.Add("tea & biscuits")
	if got, want := p.must(open(s.URL+"/?tea%20&+biscuits")), `{"type":"navigate","url":"`+s.URL+`/?***","status":200}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	p.must(`{"type":"extract","name":"x","selector":"#p"}`)
	if p.data["x"] != `"it is ***"` {
		t.Error(p.data["x"])
	}
	p.fails(`{"type":"evaluate","expression":"(() => { throw new Error(p.textContent) })()"}`, "ScriptError: Error: it is ***")
	p.fails(`{"type":"waitForUrl","pattern":"*x","timeout":50}`,
		`TimeoutError: Waiting for URL "*x" failed: 50ms exceeded (the page is at `+s.URL+`/?***)`)
	p.fails(`{"type":"click","selector":"button","timeout":200}`, `TimeoutError: Waiting for selector "button" failed: 200ms exceeded (covered by <div class="`+covers+`***…">)`)
}

package steps

import (
	"testing"
)

// Every reason for which a step does not act on an element yet, and the message that says
// so; then what it waits for comes about, and it acts.
func TestActionability(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.page("/", `
		<style>#moving { animation: 1s linear infinite alternate m } @keyframes m { to { transform: translateX(90px) } }</style>
		<button id=moving onclick="hits += 'm'">Moving</button>
		<button id=hidden style="visibility:hidden" onclick="hits += 'h'">Hidden</button>
		<button id=flat style="width:0;padding:0;border:0" onclick="hits += 'f'"></button>
		<fieldset disabled><button id=disabled onclick="hits += 'd'"><b id=inner>Disabled</b></button></fieldset>
		<div aria-disabled=true><button id=aria onclick="hits += 'a'">Aria</button></div>
		<div style="position:relative;width:90px;height:30px">
			<button id=buy onclick="hits += 'b'" style="width:90px;height:30px">Buy</button>
			<div id=cookies class="cookie-banner" style="position:absolute;inset:0"><p>We <i>care</i></p></div>
		</div>
		<input id=fixed readonly><p id=p>No input</p><button id=away style="position:fixed;left:-500px">Away</button>
		<select id=sel><option>a<option disabled>b</select>
		<script>hits = ''</script>`)
	p := newPlayer(t, Config{})
	p.must(open(s.URL))
	for selector, why := range map[string]string{
		"#none": "no element matches", "#hidden": "not visible", "#flat": "not visible", "#moving": "still moving",
		"#disabled": "disabled", "#inner": "disabled", "#aria": "disabled",
		"#buy": `covered by <div id="cookies" class="cookie-banner">`, "#away": "outside of the window",
	} {
		p.fails(`{"type":"click","selector":"`+selector+`","timeout":700}`,
			`TimeoutError: Waiting for selector "`+selector+`" failed: 700ms exceeded (`+why+`)`)
	}
	for selector, why := range map[string]string{"#fixed": "read-only", "#p": "not editable"} {
		p.fails(`{"type":"change","value":"x","selector":"`+selector+`","timeout":700}`,
			`TimeoutError: Waiting for selector "`+selector+`" failed: 700ms exceeded (`+why+`)`)
	}
	for value, why := range map[string]string{"c": "it has no such option", "b": "the option is disabled"} {
		p.fails(`{"type":"select","value":"`+value+`","selector":"#sel","timeout":700}`,
			`TimeoutError: Waiting for selector "#sel" failed: 700ms exceeded (`+why+`)`)
	}
	p.fails(`{"type":"hover","selectors":[["#a","#b"],"#none"],"timeout":700}`,
		`TimeoutError: Waiting for selector "#a >>> #b" failed: 700ms exceeded (no element matches)`)
	p.fails(`{"type":"click","selector":"p[","timeout":5000}`, `InvalidSelector: "p[" is not a selector that the page can read`)
	p.fails(`{"type":"click","selector":"xpath/p[","timeout":5000}`, `InvalidSelector: "xpath/p[" is not a selector that the page can read`)
	p.says("hits", "")

	p.must(`{"type":"evaluate","expression":"setTimeout(() => { hidden.style.visibility = 'visible'; cookies.remove(); ` +
		`moving.style.animation = 'none'; document.querySelector('fieldset').disabled = false; }, 300)"}`)
	for _, selector := range []string{"#buy", "#hidden", "#moving", "#inner"} {
		p.must(`{"type":"click","selector":"` + selector + `"}`)
	}
	p.says("hits", "bhmd")
}

// Every way to name an element, in the page and in shadow roots.
func TestSelectorsInPages(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.page("/", `
		<p id=p>Order <b>now</b></p><div id=outer><div id=in>  Tea   time </div></div>
		<label for=q>Query</label><input id=q><a href="#" id=a aria-label="Go on">x</a><h1 id=h>Title</h1>
		<x-shop id=shop></x-shop><x-card id=card><b>slotted</b></x-card>
		<x-closed id=shut></x-closed>
		<script>
			const root = shop.attachShadow({mode: 'open'});
			root.innerHTML = '<span id=s class=deep>Shadow <em id=e>text</em></span><x-inner id=i></x-inner><button id=sb>Pay</button>';
			card.attachShadow({mode: 'open'}).innerHTML = '<button id=wrap onclick="document.title = 1"><slot></slot></button>';
			shut.attachShadow({mode: 'closed'}).innerHTML = '<p><button id=cb class=deep onclick="document.title = 2">Open sesame</button></p>';
			root.getElementById('i').attachShadow({mode: 'open'}).innerHTML = '<u id=u class=deep>Innermost</u>';
		</script>`)
	p := newPlayer(t, Config{})
	p.must(open(s.URL))
	for selectors, want := range map[string]string{
		`"#p > b"`: "now", `"xpath///p/b"`: "now", `"text/Order"`: "Order now", `"text/now"`: "now", `"text=tea TIME"`: "Tea time",
		`"text=\"Tea time\""`: "Tea time", `"pierce/.deep"`: "Shadow text", `"pierce/u"`: "Innermost", `"text/Innerm"`: "Innermost",
		`"text/Shadow t"`: "Shadow text", `["#shop","#s"]`: "Shadow text", `["#shop","#i","u"]`: "Innermost",
		`["#shop","aria/Pay"]`: "Pay", `"aria/Pay"`: "Pay", `"aria/Title[role=\"heading\"]"`: "Title", `"aria/[role=\"heading\"]"`: "Title",
		`"role=heading"`: "Title", `"role=button[name=\"pay\" i]"`: "Pay", `"aria/Go on"`: "x", `"#none","#h"`: "Title",
	} {
		p.must(`{"type":"extract","name":"x","selectors":[` + selectors + `],"timeout":2000}`)
		if got := p.data["x"]; got != `"`+want+`"` {
			t.Errorf("%s: %s, want %q", selectors, got, want)
		}
	}
	p.must(`{"type":"click","selectors":[["#card","#wrap"]]}`) // the pointer hits what is slotted
	p.says("document.title", "1")
	p.must(`{"type":"click","selector":"aria/Open sesame"}`) // the browser finds it in a closed root; scripts do not
	p.says("document.title", "2")
	for _, selector := range []string{"pierce/#cb", "text/Open sesame", "#cb"} {
		p.fails(`{"type":"click","selector":"`+selector+`","timeout":100}`, `TimeoutError: Waiting for selector "`+selector+`" failed: 100ms exceeded (no element matches)`)
	}
	p.fails(`{"type":"click","selectors":[["#shut","#cb"]],"timeout":100}`, `TimeoutError: Waiting for selector "#shut >>> #cb" failed: 100ms exceeded (no element matches)`)
	p.must(`{"type":"change","selector":"aria/Query","value":"tea"}`)
	p.says("q.value", "tea")
	p.must(`{"type":"extract","name":"x","selector":"pierce/.deep","all":true}`)
	if got := p.data["x"]; got != `["Shadow text","Innermost"]` {
		t.Error(got)
	}
	p.must(`{"type":"extract","name":"x","selector":"role=button","all":true,"what":"attribute","attribute":"id"}`)
	if got := p.data["x"]; got != `["sb","wrap","cb"]` {
		t.Error(got)
	}
}

// Steps go into iframes, of this site and of others, and their clicks land.
func TestFrames(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.page("/leaf", `<button id=b onclick="this.textContent = 'hit'" style="margin:40px">Press</button><input id=q><div style="height:900px"></div><i id=low onclick="this.textContent='low'">x</i>`)
	s.page("/mid", `<p>mid</p><iframe src="/leaf" style="border:7px solid;padding:3px"></iframe>`)
	s.page("/", `<div style="height:1200px">far</div><iframe width=500 height=400 src="`+s.elsewhere()+`/mid"></iframe>
		<iframe src="/leaf"></iframe><div id=cover style="position:fixed;inset:0;display:none"></div>`)
	p := newPlayer(t, Config{})
	p.must(open(s.URL))
	for _, frame := range []string{"[1]", "[0,0]"} {
		p.must(`{"type":"click","selector":"#b","frame":`+frame+`}`,
			`{"type":"extract","name":"b","selector":"#b","frame":`+frame+`}`,
			`{"type":"change","selector":"#q","value":"tea","frame":`+frame+`}`,
			`{"type":"extract","name":"q","selector":"#q","what":"value","frame":`+frame+`}`,
			`{"type":"click","selector":"#low","frame":`+frame+`}`,
			`{"type":"extract","name":"low","selector":"#low","frame":`+frame+`}`)
		if p.data["b"] != `"hit"` || p.data["q"] != `"tea"` || p.data["low"] != `"low"` {
			t.Errorf("%s: %v", frame, p.data)
		}
	}
	p.fails(`{"type":"click","selector":"#b","frame":[1,0],"timeout":700}`, `TimeoutError: Waiting for selector "#b" failed: 700ms exceeded (no frame 0)`)
	p.must(`{"type":"evaluate","expression":"cover.style.display = 'block'"}`)
	p.fails(`{"type":"click","selector":"#b","frame":[0,0],"timeout":700}`,
		`TimeoutError: Waiting for selector "#b" failed: 700ms exceeded (covered by <div id="cover">)`)
}

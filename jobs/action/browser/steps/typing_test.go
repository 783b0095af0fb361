package steps

import (
	"strings"
	"testing"

	"github.com/jobcast/jobcast/jobs"
)

// Every kind of control takes its value, and the page hears of it.
func TestForms(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.page("/", `
		<input id=text value=old><input id=pw type=password><input id=n type=number><textarea id=area>old</textarea>
		<p id=edit contenteditable>old</p><select id=sel><option value=a>Tea<option value=b>Milk</select>
		<select id=many multiple><option>1<option>2<option selected>3</select>
		<label>Tick <input id=tick type=checkbox></label><input id=r1 type=radio name=r><input id=r2 type=radio name=r checked>
		<input id=date type=date><input id=color type=color><input id=range type=range max=10><input id=file type=file>
		<script>
			heard = {};
			for (const type of ['input', 'change', 'keydown']) document.addEventListener(type, (e) =>
				{ (heard[e.target.id] ??= new Set()).add(type) });
			of = (id) => [...(heard[id] ?? [])].sort().join(' ');
		</script>`)
	p := newPlayer(t, Config{})
	p.must(open(s.URL))
	long := strings.Repeat("x", maxKeyed+1)
	for _, c := range []struct{ id, value, member, want, heard string }{
		{"text", `"Grüße, \"tea\""`, "value", `Grüße, "tea"`, "change input keydown"},
		{"text", `""`, "value", "", "change input keydown"},
		{"pw", `"` + long + `"`, "value", long, "change input"},
		{"n", `"12.5"`, "value", "12.5", "change input keydown"},
		{"area", `"a\nb"`, "value", "a\nb", "change input keydown"},
		{"edit", `"new"`, "textContent", "new", "input keydown"},
		{"sel", `"b"`, "value", "b", "change input"},
		{"tick", `true`, "checked", "true", "change input"},
		{"r1", `"on"`, "checked", "true", "change input"},
		{"date", `"2026-02-03"`, "value", "2026-02-03", "change input"},
		{"color", `"#ff0000"`, "value", "#ff0000", "change input"},
		{"range", `"7"`, "value", "7", "change input"},
	} {
		p.must(`{"type":"change","selector":"#` + c.id + `","value":` + c.value + `}`)
		p.says("document.getElementById('"+c.id+"')."+c.member, c.want)
		p.says("of('"+c.id+"')", c.heard)
	}
	p.must(`{"type":"change","selector":"text/Tick","value":"false"}`)
	p.says("tick.checked", "false")
	p.must(`{"type":"check","selector":"text/Tick"}`, `{"type":"check","selector":"#tick"}`)
	p.says("tick.checked", "true")
	p.must(`{"type":"uncheck","selector":"#tick"}`, `{"type":"select","selector":"#many","value":["1","2"]}`, `{"type":"select","selector":"#sel","value":"Tea"}`)
	p.says("[tick.checked, many.selectedOptions.length, sel.value].join()", "false,2,a")

	p.fails(`{"type":"change","selector":"#date","value":"secret"}`, `InvalidValue: "#date" does not take this value`)
	p.fails(`{"type":"change","selector":"#tick","value":"secret"}`, `InvalidValue: "#tick" does not take this value`)
	p.fails(`{"type":"change","selector":"#file","value":"x"}`, `InvalidValue: "#file" takes a file: use upload`)
	p.fails(`{"type":"uncheck","selector":"#r1"}`, `InvalidValue: clicking "#r1" did not change whether it is ticked`)
}

// Keys arrive as a keyboard sends them.
func TestKeyboard(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.page("/", `<input id=q value=ab><script>
		log = [];
		for (const type of ['keydown', 'keyup']) q.addEventListener(type, (e) => log.push(
			type[3] + ':' + e.key + '/' + e.code + (e.shiftKey ? '+s' : '') + (e.ctrlKey ? '+c' : '') + (e.location || '')));
	</script>`)
	p := newPlayer(t, Config{})
	p.must(open(s.URL), `{"type":"type","selector":"#q","text":"cD"}`)
	p.says("q.value", "abcD")
	p.says("log.splice(0).join(' ')", "d:c/KeyC u:c/KeyC d:D/KeyD+s u:D/KeyD+s")
	p.must(`{"type":"press","key":"Control+A"}`, `{"type":"keyDown","key":"Shift"}`, `{"type":"press","key":"ArrowLeft"}`, `{"type":"keyUp","key":"Shift"}`)
	p.says("log.splice(0).join(' ')", "d:Control/ControlLeft+c1 d:A/KeyA+s+c u:A/KeyA+s+c u:Control/ControlLeft1 "+
		"d:Shift/ShiftLeft+s1 d:ArrowLeft/ArrowLeft+s u:ArrowLeft/ArrowLeft+s u:Shift/ShiftLeft1")
	p.must(`{"type":"press","key":"Control+a","selector":"#q"}`, `{"type":"press","key":"Delete"}`)
	p.says("q.value", "")
}

// The pointer's buttons, devices and places arrive.
func TestPointer(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.page("/", `<div id=d style="width:90px;height:60px;background:#ccc"></div><p style="height:3000px"></p><ul id=list style="height:40px;overflow:auto">
		<li style="height:500px">x</ul><script>
		log = [];
		for (const type of ['click', 'dblclick', 'auxclick', 'contextmenu', 'mouseover', 'touchstart'])
			d.addEventListener(type, (e) => log.push(type + (type == 'click' ? e.offsetX + ',' + e.offsetY : '')));
	</script>`)
	p := newPlayer(t, Config{})
	p.must(open(s.URL), `{"type":"hover","selector":"#d"}`)
	p.says("log.splice(0).join(' ')", "mouseover")
	p.must(`{"type":"click","selector":"#d","offsetX":5,"offsetY":7,"duration":5}`, `{"type":"click","selector":"#d"}`,
		`{"type":"click","selector":"#d","deviceType":"pen"}`)
	p.says("log.splice(0).join(' ')", "click5,7 click45,30 click45,30")
	p.must(`{"type":"doubleClick","selector":"#d"}`, `{"type":"click","selector":"#d","button":"secondary"}`)
	p.says("log.splice(0).join(' ')", "click45,30 click45,30 dblclick contextmenu auxclick")
	p.must(`{"type":"click","selector":"#d","deviceType":"touch"}`)
	if got := p.text("log.join(' ')"); !strings.Contains(got, "touchstart") {
		t.Error(got)
	}
	p.must(`{"type":"scroll","y":900}`, `{"type":"scroll","selector":"#list","y":30}`)
	p.says("[Math.round(list.scrollTop), scrollY > 900].join()", "30,true")
}

// A page that goes elsewhere when an element gets the focus is typed into where it has gone; one
// that goes elsewhere because of what was typed has taken it.
func TestTypingMoves(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.page("/", `<input id=a onfocus="location = '/stays'"><input id=b oninput="if (value.length === 4) location = '/stays?' + value">
		<input id=c onfocus="location = '/?' + Math.random()"><input id=d onfocus="location = 'mailto:a@b.test'">`)
	s.page("/stays", `<input id=a>`)
	p := newPlayer(t, Config{})
	p.secrets = map[string]jobs.Secret{"x": {Value: "4f7a"}}
	for _, step := range []string{
		`{"type":"change","selector":"#a","value":"tea"}`, `{"type":"type","selector":"#a","text":"tea"}`, `{"type":"change","selector":"#a","value":{"secret":"x"}}`,
	} {
		p.must(open(s.URL), step)
		p.says("location.pathname + (a.value.length > 2)", "/staystrue")
	}
	p.must(open(s.URL), `{"type":"change","selector":"#b","value":"1234"}`)
	p.says("location.search", "?1234")
	p.must(open(s.URL), `{"type":"change","selector":"#b","value":{"secret":"x"}}`)
	p.says("location.search", "?***")
	p.must(open(s.URL), `{"type":"change","selector":"#d","value":"tea"}`)
	p.says("d.value", "tea")
	p.must(open(s.URL))
	_, err := p.play(`{"type":"change","selector":"#c","value":"tea","timeout":1000}`)
	if err == nil || !strings.HasPrefix(err.Error(), `TimeoutError: Waiting for selector "#c" failed: 1000ms exceeded (`) {
		t.Errorf("of a page that never stays: %v", err)
	}
}

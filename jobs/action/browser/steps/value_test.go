package steps

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobcast/jobcast/jobs"
)

// A secret may stand where a step has a text to give away, and nowhere else.
func TestSecretUses(t *testing.T) {
	for raw, want := range map[string]string{
		`{"type":"change","selector":"a","value":{"secret":"x"}}`:                                                                                "/value/secret x",
		`{"type":"change","selector":"a","value":"secret"}`:                                                                                      "",
		`{"type":"change","selector":"a","value":true}`:                                                                                          "",
		`{"type":"type","selector":"a","text":{"secret":"x"}}`:                                                                                   "/text/secret x",
		`{"type":"setHeaders","headers":{"B":{"secret":"y"},"C":"c","A":{"secret":"x"}}}`:                                                        "/headers/A/secret x\n/headers/B/secret y",
		`{"type":"setCookies","cookies":[{"name":"a","value":"b","url":"http://a.test"},{"name":"a","value":{"secret":"x"},"domain":"a.test"}]}`: "/cookies/1/value/secret x",
		`{"type":"customStep","name":"jobcast.type","parameters":{"selector":"a","text":{"secret":"x"}}}`:                                        "/parameters/text/secret x",
	} {
		step, wrong := Parse(json.RawMessage(raw), Options{})
		var lines []string
		for _, u := range step.Secrets() {
			lines = append(lines, u.Pointer+" "+u.Name)
		}
		if diff := cmp.Diff(want, strings.Join(lines, "\n")); len(wrong) > 0 || diff != "" {
			t.Errorf("%s: %v\n%s", raw, wrong, diff)
		}
	}
	for raw, want := range map[string]string{
		`{"type":"change","selector":"a","value":{"secret":"x y"}}`:     "/value/secret: must be 1 to 64 characters of A-Z, a-z, 0-9, dot, underscore and hyphen",
		`{"type":"change","selector":"a","value":{"Secret":"x"}}`:       "/value/Secret: unknown member\n/value/secret: must be given",
		`{"type":"type","selector":"a","text":{"secret":"x","more":1}}`: "/text/more: unknown member",
		`{"type":"select","selector":"a","value":{"secret":"x"}}`:       "/value: must be a string or an array",
		`{"type":"navigate","url":{"secret":"x"}}`:                      "/url: must be a string",
		`{"type":"press","key":{"secret":"x"}}`:                         "/key: must be a string",
		`{"type":"setHeaders","headers":{"A":{"secret":7},"B":{}}}`:     "/headers/A/secret: must be a string\n/headers/B/secret: must be given",
		`{"type":"setCookies","cookies":[{"name":"a=b","value":" c","url":"http://a.test"},{"name":"a","value":"b;c","url":"http://a.test"},{"name":"a","value":"\n","url":"http://a.test"}]}`: "" +
			"/cookies/0/name: must have no semicolons, no control characters and no white space around it, and no equals sign\n" +
			"/cookies/0/value: must have no semicolons, no control characters and no white space around it\n" +
			"/cookies/1/value: must have no semicolons, no control characters and no white space around it\n" +
			"/cookies/2/value: must have no semicolons, no control characters and no white space around it",
		`{"type":"setCookies","cookies":[{"name":"a","value":"` + strings.Repeat("x", 4096) + `","url":"http://a.test"}]}`: "/cookies/0: must have at most 4096 bytes of name and value",
		`{"type":"setCookies","cookies":[{"name":{"secret":"x"},"value":[],"url":"http://a.test"}]}`:                       "/cookies/0/name: must be a string\n/cookies/0/value: must be a string or an object",
	} {
		if got := faultsOf(t, raw, Options{}); got != want {
			t.Errorf("%s\n got %s\nwant %s", raw, got, want)
		}
	}
}

// A secret goes where its step says, if it is meant for the page there, hides the field that
// it fills, and stands in no text that leaves the session.
func TestSecrets(t *testing.T) {
	t.Parallel()
	const canary = `can"ary& 4f7a`
	s := newSite(t)
	asked := make(chan *http.Request, 100)
	s.page("/", `<form action="/in"><input id=a name=a><input id=b name=b type=email><select id=c><option>`+"x"+`</select><input id=d type=date><button>in</button></form>
		<iframe></iframe><p id=echo></p><script>
		const style = (e) => getComputedStyle(e).webkitTextSecurity
		const seen = []
		for (const e of [a, b]) { e.addEventListener('keydown', () => seen.push('key')); e.addEventListener('input', () => seen.push(e.value.length)) }
		a.oninput = () => { echo.textContent = a.value; history.replaceState(null, '', '?' + encodeURIComponent(a.value)) }</script>`)
	s.mux.HandleFunc("/in", func(w http.ResponseWriter, r *http.Request) {
		asked <- r
		http.Error(w, "no", http.StatusTeapot)
	})
	s.page("/framed", `<iframe src="`+s.elsewhere()+`/"></iframe>`)
	p := newPlayer(t, Config{})
	p.secrets = map[string]jobs.Secret{
		"any": {Value: canary}, "here": {Value: "here4f7a", Hosts: []string{"127.0.0.1"}}, "there": {Value: "there4f7a", Hosts: []string{"localhost"}},
	}
	fill := func(selector, name string) string {
		return fmt.Sprintf(`{"type":"change","selector":%q,"value":{"secret":%q}}`, selector, name)
	}
	p.must(open(s.URL), fill("#a", "any"), `{"type":"type","selector":"#b","text":{"secret":"here"}}`)
	p.says(fmt.Sprintf("a.value === %q && b.value === 'here4f7a'", canary), "true")
	p.says("seen.join()", fmt.Sprintf("%d,%d", len(canary), len("here4f7a")))
	p.says("[a, b, document.body].map(style).join()", "disc,disc,none")
	p.must(`{"type":"extract","selector":"#a","what":"value","name":"a"}`, `{"type":"extract","selector":"#echo","what":"html","name":"b"}`)
	if p.data["a"] != `"***"` || p.data["b"] != `"<p id=\"echo\">***</p>"` {
		t.Errorf("extracted %v", p.data)
	}
	p.fails(fill("#b", "there"), `SecretError: the secret "there" is not meant for 127.0.0.1`)
	p.fails(fill("#c", "any"), `InvalidValue: "#c" takes no secret: only a field for text does`)
	p.fails(fill("#d", "any"), `InvalidValue: "#d" takes no secret: only a field for text does`)
	p.fails(fill("#b", "gone"), `SecretError: gone`)
	p.fails(`{"type":"setHeaders","headers":{"X":{"secret":"here"}}}`, `SecretError: the secret "here" is not meant for any host, as headers are`)
	p.fails(`{"type":"setCookies","cookies":[{"name":"a","value":{"secret":"there"},"url":"`+s.URL+`"}]}`, `SecretError: the secret "there" is not meant for 127.0.0.1`)
	p.fails(`{"type":"setCookies","cookies":[{"name":"a","value":{"secret":"there"},"domain":".localhost"}]}`,
		`SecretError: the secret "there" is not meant for the hosts below localhost, where a cookie with a domain goes too`)
	p.must(`{"type":"setHeaders","headers":{"X-Any":{"secret":"any"}}}`, `{"type":"setCookies","cookies":[{"name":"c","value":{"secret":"here"},"url":"`+s.URL+`"}]}`)
	p.must(`{"type":"change","selector":"#b","value":"a@b.test"}`)
	_, err := p.play(`{"type":"click","selector":"#a"}`, `{"type":"press","key":"Enter"}`, `{"type":"navigate","url":"`+s.URL+`/in?again","expectStatus":200}`)
	if err == nil || strings.Contains(err.Error(), "4f7a") {
		t.Errorf("a failure at a URL: %v", err)
	}
	for range 2 {
		var r *http.Request
		select {
		case r = <-asked:
		case <-time.After(10 * time.Second):
			t.Fatal("nothing was asked for")
		}
		if c, err := r.Cookie("c"); err != nil || c.Value != "here4f7a" || r.Header.Get("X-Any") != canary {
			t.Errorf("asked with %v, %v", r.Header, err)
		}
		if got := r.FormValue("a"); r.URL.RawQuery != "again" && got != canary {
			t.Errorf("sent %q", got)
		}
	}
	p.must(open(s.URL + "/framed"))
	p.fails(`{"type":"change","selector":"#a","frame":[0],"value":{"secret":"there"}}`, `SecretError: the secret "there" is not meant for 127.0.0.1`)
	p.fails(`{"type":"change","selector":"#a","frame":[0],"value":{"secret":"here"}}`, `SecretError: the secret "here" is not meant for localhost`)
	p.must(open("about:blank"), `{"type":"evaluate","expression":"document.body.innerHTML = '<input id=a>', 1"}`)
	p.fails(fill("#a", "here"), `SecretError: the secret "here" is not meant for a page without a host`)
}

// A secret goes into the element that its step names or nowhere, whoever takes the focus, and
// the page learns of it as of what somebody types.
func TestSecretsStay(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.page("/thief", `<input id=s><script>window.onfocus = () => s.focus()
		const c = new MessageChannel()
		c.port1.onmessage = () => { if (document.activeElement !== s || !document.hasFocus()) { s.blur(); window.focus(); s.focus() } c.port2.postMessage(0) }
		c.port2.postMessage(0)</script>`)
	s.page("/", `<form><input id=a><input id=b><input id=n type=number value=1><input id=l maxlength=5><input id=r value=12><input id=v><input id=x><input id=y></form>
		<div id=e contenteditable>old</div><iframe id=f src="`+s.elsewhere()+`/thief"></iframe><iframe id=own></iframe><script>
		const seen = []
		for (const type of ['beforeinput', 'input', 'change']) document.addEventListener(type, (e) => seen.push([e.target.id, type, e.inputType, e.data]))
		a.onfocus = () => f.focus()
		r.onfocus = () => b.focus()
		x.onfocus = () => x.remove()
		y.addEventListener('beforeinput', () => own.contentDocument.body.append(y))
		v.addEventListener('beforeinput', (e) => e.preventDefault())
		l.onfocus = () => { l.style.webkitTextSecurity = 'none' }
		// React keeps the value that it has set, and takes an input for none if that is what is there.
		let kept = r.value, took = []
		const own_ = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value')
		Object.defineProperty(r, 'value', {get: () => own_.get.call(r), set: (value) => { kept = value; own_.set.call(r, value) }})
		r.addEventListener('input', () => { if (r.value !== kept) took.push(kept = r.value) })
		HTMLInputElement.prototype.dispatchEvent = document.createEvent = () => { throw 'taken' }
		Object.defineProperty(HTMLInputElement.prototype, 'value', {...own_, set: (value) => seen.push('stolen')})
	</script>`)
	p := newPlayer(t, Config{})
	p.secrets = map[string]jobs.Secret{"x": {Value: "here4f7a", Hosts: []string{"127.0.0.1"}}}
	fill := func(id string) string { return `{"type":"change","selector":"#` + id + `","value":{"secret":"x"}}` }
	p.must(open(s.URL), fill("a"), fill("a"), `{"type":"type","selector":"#r","text":{"secret":"x"}}`)
	p.says(`[a.value, b.value, took].join()`, "***,,12***")
	p.says(`JSON.stringify(seen.splice(0).slice(-6))`, `[["a","beforeinput","insertText",null],["a","input","insertText",null],["a","change",null,null],`+
		`["r","beforeinput","insertText",null],["r","input","insertText",null],["r","change",null,null]]`)
	p.must(`{"type":"extract","selector":"#s","what":"value","frame":[0],"name":"stolen"}`, fill("e"))
	p.says(`e.textContent`, "***")
	p.must(`{"type":"type","selector":"#e","text":{"secret":"x"}}`)
	p.says(`e.textContent`, "******")
	for _, id := range []string{"n", "l", "v", "x", "y"} {
		p.fails(fill(id), `InvalidValue: "#`+id+`" does not take this value`)
	}
	p.says(`[n, l, v].map((e) => e.value).join() + own.contentDocument.querySelector('input').value`, "1,,")
	p.says(`[a, r, e, b].map((e) => getComputedStyle(e).webkitTextSecurity).join()`, "disc,disc,disc,none")
	if p.data["stolen"] != `""` {
		t.Errorf("a frame has %s of it", p.data["stolen"])
	}
}

// secret is the player's Env.Secret.
func (p *player) secret(_ context.Context, name string) (jobs.Secret, error) {
	s, ok := p.secrets[name]
	if !ok {
		return s, &jobs.ActionError{Class: jobs.ClassSecret, Message: name}
	}
	return s, nil
}

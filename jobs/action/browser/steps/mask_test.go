package steps

import (
	"bytes"
	"testing"

	"github.com/jobcast/jobcast/jobs"
)

// A password is not seen in a picture, nor a secret that a step has typed, even if the page
// shows them.
func TestMasks(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.page("/leaf", `<input id=b type=password oninput="type = 'text'">`)
	s.page("/", `<input id=a><input id=c><iframe src="/leaf"></iframe><script>
		const style = (e) => getComputedStyle(e).webkitTextSecurity
		const show = (e) => { e.type = 'text'; e.style.setProperty('-webkit-text-security', 'none', 'important') }
		const all = () => [a, c, frames[0].b]
	</script>`)
	p := newPlayer(t, Config{})
	p.must(open(s.URL), `{"type":"type","selector":"#b","frame":[0],"text":"secret"}`, `{"type":"change","selector":"#c","value":"seen"}`)
	p.secrets = map[string]jobs.Secret{"x": {Value: "4f7a"}}
	p.must(`{"type":"change","selector":"#a","value":{"secret":"x"}}`)
	p.says("all().map(style).join()", "disc,none,disc")
	shot := `{"type":"screenshot","name":"x"}`
	p.must(shot)
	before := p.files["x.png"]
	p.must(`{"type":"evaluate","expression":"all().forEach(show)"}`)
	p.says("all().map(style).join()", "disc,none,disc") // for who looks at the live picture
	p.must(shot)
	p.says("all().map(style).join()", "disc,none,disc")
	if !bytes.Equal(p.files["x.png"], before) {
		t.Error("the picture is another one")
	}
	p.must(`{"type":"evaluate","expression":"all().forEach(show)"}`, `{"type":"pdf","name":"y"}`)
	p.says("all().map(style).join()", "disc,none,disc")
}

package steps

import (
	"bytes"
	"encoding/json"
	"testing"
)

// A password is not seen in a picture, nor what a field was told to hide, even if the page
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
	step, wrong := Parse(json.RawMessage(`{"type":"change","selector":"#a","value":"x"}`), Options{})
	if len(wrong) > 0 {
		t.Fatal(wrong)
	}
	step.definition.run = func(r *run) error {
		e, err := r.find(toWrite)
		if err == nil {
			err = r.hide(e)
		}
		return err
	}
	if _, err := p.session.Run(t.Context(), step, p.env()); err != nil {
		t.Fatal(err)
	}
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

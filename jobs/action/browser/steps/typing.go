package steps

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/chromedp/cdproto"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp/kb"

	"github.com/jobcast/jobcast/jobs"
)

// maxKeyed is up to how many characters change types key by key; a longer text is
// inserted at once.
const maxKeyed = 100

// change gives a control its value.
func (r *run) change() error {
	v, err := r.written()
	if err != nil {
		return fmt.Errorf("read value: %w", err)
	}
	e, err := r.find(toWrite)
	if err != nil {
		return err
	}
	defer r.settle()
	if v.secret != "" {
		return r.confide(e, v, true)
	}
	text := v.text
	var kind string
	if err := r.on(e, "kind", &kind); err != nil {
		return err
	}
	switch kind {
	case "text":
		return r.write(e, text)
	case "select":
		return r.chosen([]string{text})
	case "tick":
		want, known := map[string]bool{"true": true, "on": true, "1": true, "false": false, "off": false, "0": false, "": false}[text]
		if !known {
			return r.unfit(e)
		}
		return r.tick(want)
	case "file":
		return &jobs.ActionError{Class: ClassValue, Message: fmt.Sprintf("%q takes a file: use upload", r.alternatives[e.index])}
	}
	var took bool
	if err := r.on(e, "set", &took, text); err != nil {
		return err
	}
	if !took {
		return r.unfit(e)
	}
	return nil
}

// unfit says that an element does not take its value, which it does not tell: it may be
// a secret.
func (r *run) unfit(e found) error {
	return &jobs.ActionError{Class: ClassValue, Message: fmt.Sprintf("%q does not take this value", r.alternatives[e.index])}
}

// write replaces an element's text.
func (r *run) write(e found, text string) error {
	filled, err := r.begin(e, true)
	if err != nil {
		return err
	}
	switch {
	case text == "" && filled:
		err = r.strike(chord{key: keysByName()["Backspace"]})
	case utf8.RuneCountInString(text) <= maxKeyed:
		err = r.keys(text, 0)
	default:
		err = r.insert(text)
	}
	if err == nil {
		err = r.end(e)
	}
	return err
}

// begin prepares an element for being typed into, and reports whether it holds something:
// all of that will be replaced, or none of it. A page that goes elsewhere when the element
// gets the focus is waited for.
func (r *run) begin(e found, all bool) (filled bool, err error) {
	r.holds(e)
	before := r.page.now()
	if err = r.on(e, "begin", &filled, all); err != nil {
		return false, err
	}
	err = r.page.await(r.ctx, func(p *progress) bool { return !p.pending && !p.asking })
	switch {
	case errors.Is(err, errLimit):
		err = r.elsewhere()
	case err == nil && r.page.now().commits > before.commits:
		err = absentError("the page has gone elsewhere")
	}
	return filled, err
}

// elsewhere is the failure of a step whose page does not stay.
func (r *run) elsewhere() error {
	return timeout(waitingFailed, r.first(), r.limit().Milliseconds(), "the page goes elsewhere before anything is done")
}

// end lets an element say that it has changed. A page that has gone elsewhere by then, because
// of what was typed, has taken it.
func (r *run) end(e found) error {
	if err := r.on(e, "end", nil); !isGone(err) {
		return err
	}
	return nil
}

// isGone reports whether a command failed because the document that it was for is no more.
func isGone(err error) bool {
	var refused *cdproto.Error
	return errors.As(err, &refused) && (strings.Contains(refused.Message, "context") || strings.Contains(refused.Message, "navigated"))
}

// typeText types after what the element holds.
func (r *run) typeText() error {
	e, err := r.find(toWrite)
	if err != nil {
		return err
	}
	defer r.settle()
	if r.Text.secret != "" {
		return r.confide(e, r.Text, false)
	}
	if _, err := r.begin(e, false); err != nil {
		return err
	}
	return r.keys(r.Text.text, time.Duration(r.DelayMs)*time.Millisecond)
}

// insert types a text at once.
func (r *run) insert(text string) error {
	r.acted = true
	_, err := call(r, input.InsertText, input.InsertTextParams{Text: text})
	return err
}

// keys types a text.
func (r *run) keys(text string, delay time.Duration) error {
	for i, c := range strings.ReplaceAll(text, "\r\n", "\n") {
		if i > 0 && delay > 0 {
			if err := pause(r.ctx, delay); err != nil {
				return err
			}
		}
		var err error
		if key, known := kb.Keys[c]; known {
			err = r.strike(chord{key: *key})
		} else if c == '\n' {
			err = r.strike(chord{key: keysByName()["Enter"]})
		} else { // no key of this keyboard
			err = r.insert(string(c))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// press presses a chord and lets it go.
func (r *run) press() error {
	if len(r.alternatives) > 0 {
		e, err := r.find(need{Visible: true, Enabled: true, Control: true})
		if err != nil {
			return err
		}
		if _, err := r.begin(e, false); err != nil {
			return err
		}
	}
	defer r.settle()
	return r.strike(r.chord)
}

// strike presses the keys of a chord, and lets them go in turn.
func (r *run) strike(c chord) error {
	for _, m := range c.modifiers {
		if err := r.key(m, true); err != nil {
			return err
		}
	}
	err := r.key(c.key, true)
	if err == nil {
		err = r.key(c.key, false)
	}
	for i := len(c.modifiers) - 1; i >= 0 && err == nil; i-- {
		err = r.key(c.modifiers[i], false)
	}
	return err
}

func (r *run) keyDown() error {
	defer r.settle()
	return r.key(r.chord.key, true)
}

func (r *run) keyUp() error {
	defer r.settle()
	return r.key(r.chord.key, false)
}

// key presses a key or lets it go.
func (r *run) key(k kb.Key, down bool) error {
	r.acted = true
	if down {
		r.held |= modifierOf(k)
	} else {
		r.held &^= modifierOf(k)
	}
	p := input.DispatchKeyEventParams{
		Type: input.DispatchKeyEventTypeKeyUp, Key: k.Key, Code: k.Code, Modifiers: int64(r.held),
		WindowsVirtualKeyCode: k.Windows, NativeVirtualKeyCode: k.Native, Location: locationOf(k.Code),
	}
	if k.Shift {
		p.Modifiers |= int64(kb.ModifierShift)
	}
	if down {
		p.Type = input.DispatchKeyEventTypeRawKeyDown
		if k.Text != "" && r.held&^kb.ModifierShift == 0 {
			p.Type, p.Text, p.UnmodifiedText = input.DispatchKeyEventTypeKeyDown, k.Text, k.Unmodified
		}
	}
	_, err := call(r, input.DispatchKeyEvent, p)
	return err
}

// locationOf is where on the keyboard a key is (KeyboardEvent.location).
func locationOf(code string) int64 {
	switch {
	case strings.HasPrefix(code, "Numpad"):
		return 3
	case strings.HasSuffix(code, "Left") && !strings.HasPrefix(code, "Arrow") && !strings.HasPrefix(code, "Bracket"):
		return 1
	case strings.HasSuffix(code, "Right") && !strings.HasPrefix(code, "Arrow") && !strings.HasPrefix(code, "Bracket"):
		return 2
	}
	return 0
}

// choose chooses a select's options.
func (r *run) choose() error {
	var wanted []string
	if json.Unmarshal(r.Value, &wanted) != nil {
		var one string
		if err := json.Unmarshal(r.Value, &one); err != nil {
			return fmt.Errorf("read value: %w", err)
		}
		wanted = []string{one}
	}
	defer r.settle()
	return r.chosen(wanted)
}

func (r *run) chosen(wanted []string) error {
	n := need{Visible: true, Enabled: true, Control: true, Option: wanted}
	e, err := r.find(n)
	if err != nil {
		return err
	}
	return r.on(e, "choose", nil, wanted)
}

// give gives a file input a file, by the name that the browser knows it under.
func (r *run) give(file string) error {
	e, err := r.find(need{Enabled: true, Control: true}) // most are hidden behind something nicer
	if err != nil {
		return err
	}
	defer r.settle()
	var kind string
	if err := r.on(e, "kind", &kind); err != nil {
		return err
	}
	if kind != "file" {
		return &jobs.ActionError{Class: ClassValue, Message: fmt.Sprintf("%q is not a file input", r.alternatives[e.index])}
	}
	var held runtime.RemoteObjectID
	if held, err = r.handle(e.frame, "held"); err != nil {
		return err
	}
	_, err = callIn(r, e.frame, dom.SetFileInputFiles, dom.SetFileInputFilesParams{Files: []string{file}, ObjectID: held})
	return err
}

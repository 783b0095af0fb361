package steps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/chromedp/cdproto"
	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

const (
	// pollPause is what each pause between two looks at a page is longer than the one
	// before, up to maxPollPause.
	pollPause    = 20 * time.Millisecond
	maxPollPause = 100 * time.Millisecond
	hungAfter    = 2 * time.Second // a look that takes longer is not answered
	// maxNamed caps how many elements of one name or role are looked at.
	maxNamed = 1000
)

// What a time-out says.
const (
	waitingFailed = "Waiting for selector %q failed: %dms exceeded (%s)"
	noAnswer      = "the page does not answer"
)

// need says what an element must be before a step acts on it; see page.js.
type need struct {
	Visible  bool     `json:"visible,omitempty"`
	Still    bool     `json:"still,omitempty"`
	Enabled  bool     `json:"enabled,omitempty"`
	Editable bool     `json:"editable,omitempty"`
	Point    bool     `json:"point,omitempty"`   // the pointer can hit it
	Control  bool     `json:"control,omitempty"` // of a label, what it is for
	Option   []string `json:"option,omitempty"`  // it has these options
	Offset   *offset  `json:"offset,omitempty"`
	Again    int      `json:"again,omitempty"` // how many looks there were
}

type offset struct {
	X *float64 `json:"x,omitempty"`
	Y *float64 `json:"y,omitempty"`
}

// What steps need of an element, as Playwright has it.
var (
	toPoint = need{Visible: true, Still: true, Enabled: true, Point: true}
	toHover = need{Visible: true, Still: true, Point: true}
	toWrite = need{Visible: true, Enabled: true, Editable: true, Control: true}
)

// found is an element that a step can act on. Its frame's world holds it.
type found struct {
	frame *frame
	index int  // of the alternative
	file  bool // it is a link to a file that is to be loaded
	X, Y  float64
}

// polled is what page.js says of a look.
type polled struct {
	Ready bool    `json:"ready"`
	Why   string  `json:"why"`
	Index int     `json:"index"`
	File  bool    `json:"file"`
	X     float64 `json:"x"`
	Y     float64 `json:"y"`
	Cover *struct {
		Name  string `json:"name"`
		ID    string `json:"id"`
		Class string `json:"class"`
	} `json:"cover"` // what the pointer would hit
}

// maxDescribed is how much of a name a message has, in bytes.
const maxDescribed = 60

// why says what an element is not, with short names that no secret has been cut in.
func (r *run) why(p polled) string {
	if p.Cover == nil {
		return p.Why
	}
	short := func(text string) string {
		text, longer := r.secrets.Cut(text, maxDescribed)
		if longer {
			text += "…"
		}
		return text
	}
	told := p.Why + " by <" + short(p.Cover.Name)
	if p.Cover.ID != "" {
		told += ` id="` + short(p.Cover.ID) + `"`
	}
	if p.Cover.Class != "" {
		told += ` class="` + short(p.Cover.Class) + `"`
	}
	return told + ">"
}

// find waits for an element that is all that n says.
func (r *run) find(n need) (found, error) {
	var e found
	err := r.poll(func(look int) (string, error) {
		n.Again = look
		f, err := r.frame()
		if err != nil {
			return "", err
		}
		var p polled
		if err := r.among(f, "poll", &p, n); err != nil {
			return "", err
		}
		e = found{frame: f, index: p.Index, file: p.File, X: p.X, Y: p.Y}
		if !p.Ready {
			return r.why(p), nil
		}
		return r.toWindow(&e, n.Point)
	}, func() string { return r.alternatives[e.index].String() })
	return e, err
}

// toWindow takes the element's point to the page's window, through the frames that it is in.
func (r *run) toWindow(e *found, reach bool) (why string, err error) {
	for f := e.frame; f.parent != nil; f = f.parent {
		var p polled
		if err := r.invoke(f.parent, "through", &p, f.owner, map[string]float64{"x": e.X, "y": e.Y}, reach); err != nil {
			return "", err
		}
		if p.Why != "" {
			return r.why(p), nil
		}
		e.X, e.Y = p.X, p.Y
	}
	return "", nil
}

// poll looks until there is nothing to wait for. look says what there is, or fails; a
// failure that another look may mend is mended so. which names what is waited for.
func (r *run) poll(look func(n int) (why string, err error), which func() string) error {
	why := noAnswer
	for n := 0; ; n++ {
		began := time.Now()
		said, err := look(n)
		if err == nil && said == "" {
			return nil
		}
		switch {
		case err == nil:
			why = said
		case r.ctx.Err() == nil:
			if said, err = r.mendable(err, which()); err != nil {
				return err
			} else if said != "" {
				why = said
			}
		case time.Since(began) > hungAfter:
			why = noAnswer
		}
		if pause(r.ctx, min(time.Duration(n+1)*pollPause, maxPollPause)) == nil {
			continue
		}
		if cause := context.Cause(r.ctx); !errors.Is(cause, errLimit) {
			return cause
		}
		return timeout(waitingFailed, which(), r.limit().Milliseconds(), why)
	}
}

// mendable returns err unless another look may mend it, because the page has moved on
// under this one; and else what it says of the page.
func (r *run) mendable(err error, which string) (why string, _ error) {
	var absent absentError
	var refused *cdproto.Error
	var script *scriptError
	switch {
	case errors.As(err, &absent):
		return string(absent), nil
	case errors.As(err, &refused):
		r.forget()
		return "the page has changed", nil
	case errors.As(err, &script):
		r.forget()
		if strings.HasPrefix(script.said, "SyntaxError") || strings.Contains(script.said, "not a valid XPath") {
			return "", invalidSelector(which)
		}
		return script.said, nil
	case errors.Is(err, chromedp.ErrTargetDetached) && len(r.Frame) > 0: // the process of an iframe
		r.forget()
		return "", nil
	}
	return "", err
}

// forget lets the worlds of all frames be made anew, and the targets of iframes be found anew.
func (r *run) forget() {
	r.mu.Lock()
	for id, o := range r.opened {
		if o.tab != nil && o.tab.gone() {
			o.leave()
			delete(r.opened, id)
		}
	}
	r.mu.Unlock()
	for _, p := range r.pages() {
		p.mu.Lock()
		clear(p.worlds)
		p.mu.Unlock()
	}
}

// place is an alternative as page.js takes it: a path, or where among the arguments are
// the elements that were found by name.
type place struct {
	Path alternative `json:"path,omitempty"`
	From int         `json:"from"`
	To   int         `json:"to"`
}

// among calls a function of pageScript with what it needs, the step's alternatives, and
// the elements that only the browser finds.
func (r *run) among(f *frame, function string, out, needs any) error {
	places := make([]place, len(r.alternatives))
	args := []any{needs, places}
	for i, a := range r.alternatives {
		elements, script, err := r.named(f, a)
		if err != nil {
			return err
		}
		if script {
			places[i].Path = a
			continue
		}
		places[i].From, places[i].To = len(args)-2, len(args)-2+len(elements)
		for _, id := range elements {
			args = append(args, id)
		}
	}
	return r.invoke(f, function, out, args...)
}

// named finds the elements of an alternative that has accessible names in it. script says
// that it has none, so that page.js can do it.
func (r *run) named(f *frame, a alternative) (elements []runtime.RemoteObjectID, script bool, err error) {
	script = true
	for _, p := range a {
		script = script && !p.named()
	}
	if script {
		return nil, true, nil
	}
	root, err := r.handle(f, "document")
	for i, p := range a {
		if err != nil {
			return nil, false, err
		}
		last := i == len(a)-1
		var some []runtime.RemoteObjectID
		if p.named() {
			some, err = r.byName(f, root, p, last)
		} else {
			var one runtime.RemoteObjectID
			if one, err = r.handle(f, "first", root, alternative{p}); one != "" {
				some = []runtime.RemoteObjectID{one}
			}
		}
		if last || len(some) == 0 || err != nil {
			return some, false, err
		}
		root, err = r.handle(f, "open", some[0])
	}
	return nil, false, err
}

// byName asks the browser's accessibility tree, which knows what assistive technology
// would be told, for elements by name and role.
func (r *run) byName(f *frame, root runtime.RemoteObjectID, p part, all bool) ([]runtime.RemoteObjectID, error) {
	ask := accessibility.QueryAXTreeParams{ObjectID: root, Role: p.Role}
	if !p.Fold {
		ask.AccessibleName = p.Value
	}
	tree, err := cdp.Call(r.ctx, f.tab.target, accessibility.QueryAXTree, ask)
	if err != nil {
		return nil, err
	}
	var elements []runtime.RemoteObjectID
	for _, node := range tree.Nodes {
		if len(elements) == maxNamed || (len(elements) == 1 && !all) {
			break
		}
		if node.Ignored || node.BackendDOMNodeID == 0 || (p.Role == "" && textRole(node.Role)) ||
			(p.Fold && !strings.EqualFold(valueText(node.Name), p.Value)) {
			continue
		}
		made, err := cdp.Call(r.ctx, f.tab.target, dom.ResolveNode, dom.ResolveNodeParams{
			BackendNodeID: node.BackendDOMNodeID, ExecutionContextID: f.world, ObjectGroup: worldName,
		})
		if err != nil {
			return nil, err
		}
		if made.Object.Subtype == runtime.RemoteObjectSubtypeNode && !strings.HasPrefix(made.Object.Description, "#") {
			elements = append(elements, made.Object.ObjectID)
		}
	}
	return elements, nil
}

// textRole reports whether a role is a text's: the element that holds it has its name too.
func textRole(role *accessibility.Value) bool {
	switch valueText(role) {
	case "StaticText", "InlineTextBox", "RootWebArea":
		return true
	}
	return false
}

func valueText(v *accessibility.Value) string {
	if v == nil {
		return ""
	}
	return stringOf(v.Value)
}

// stringOf is a JSON string's text; a value of another type has none.
func stringOf(value []byte) (text string) {
	_ = json.Unmarshal(value, &text)
	return text
}

// on calls a function of pageScript that is about the element that was found.
func (r *run) on(e found, function string, out any, args ...any) error {
	if err := r.invoke(e.frame, function, out, args...); err != nil {
		return fmt.Errorf("%s: %w", function, err)
	}
	return nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

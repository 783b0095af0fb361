package steps

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/runtime"

	"github.com/jobcast/jobcast/jobs"
)

const defaultIdle = 500 * time.Millisecond

// waitForElement waits until enough elements are what the step says.
func (r *run) waitForElement() error {
	type wanted struct {
		Visible    *bool             `json:"visible,omitempty"`
		Attributes map[string]string `json:"attributes,omitempty"`
		Properties json.RawMessage   `json:"properties,omitempty"`
	}
	want := 1
	if r.Count != nil {
		want = int(*r.Count)
	}
	return r.poll(func(int) (string, error) {
		f, err := r.frame()
		if err != nil {
			return "", err
		}
		var n int
		if err := r.among(f, "count", &n, wanted{r.Visible, r.Attributes, r.Properties}); err != nil {
			return "", err
		}
		ok := n >= want
		switch r.Operator {
		case "==":
			ok = n == want
		case "<=":
			ok = n <= want
		}
		if ok {
			return "", nil
		}
		return counted(n), nil
	}, r.first)
}

func counted(n int) string {
	switch n {
	case 0:
		return "no element matches"
	case 1:
		return "1 element matches"
	}
	return strconv.Itoa(n) + " elements match"
}

// first is the step's first alternative, for messages.
func (s Step) first() string { return s.alternatives[0].String() }

// waitForURL waits until the page's URL is what the step says.
func (r *run) waitForURL() error {
	err := r.page.await(r.ctx, func(p *progress) bool { return matches(r.Pattern, p.url) })
	if errors.Is(err, errLimit) {
		err = timeout("Waiting for URL %q failed: %dms exceeded (the page is at %s)", r.Pattern, r.limit().Milliseconds(), r.page.now().url)
	}
	if err == nil {
		now := r.page.now()
		r.result.URL, r.result.Status = &now.url, now.status
	}
	return err
}

// matches reports whether text is what pattern says, in which * stands for any characters.
func matches(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	rest, ok := strings.CutPrefix(text, parts[0])
	if !ok || len(parts) == 1 {
		return ok && rest == ""
	}
	for _, part := range parts[1 : len(parts)-1] {
		if _, rest, ok = strings.Cut(rest, part); !ok {
			return false
		}
	}
	return strings.HasSuffix(rest, parts[len(parts)-1])
}

// waitForNetworkIdle waits until the page has had no open request for a while.
func (r *run) waitForNetworkIdle() error {
	idle := defaultIdle
	if r.IdleMs > 0 {
		idle = time.Duration(r.IdleMs) * time.Millisecond
	}
	began := time.Now()
	for {
		p := r.page
		p.mu.Lock()
		open, since := len(p.open), p.at.quiet
		p.mu.Unlock()
		if since.Before(began) {
			since = began // what was before the step does not count
		}
		rest := idle - time.Since(since)
		if open == 0 && rest <= 0 {
			return nil
		}
		if err := pause(r.ctx, max(rest, pollPause)); err != nil {
			if errors.Is(err, errLimit) {
				err = timeout("Waiting for the network to be idle for %dms failed: %dms exceeded (%d requests are open)",
					idle.Milliseconds(), r.limit().Milliseconds(), open)
			}
			return err
		}
	}
}

// waitForExpression waits until an expression of the page's own world is true.
func (r *run) waitForExpression() error {
	err := r.poll(func(int) (string, error) {
		value, err := r.expression("return !!value")
		var script *scriptError
		if errors.As(err, &script) {
			return "it throws " + script.said, nil
		}
		if err != nil {
			return "", err
		}
		if string(value.Value) != "true" {
			return "it is false", nil
		}
		return "", nil
	}, func() string { return "expression" })
	return err
}

// expression evaluates the step's expression in its frame, in the page's own world, and
// then has the script go on with its value.
func (r *run) expression(then string) (*runtime.RemoteObject, error) {
	f, err := r.frame()
	if err != nil {
		return nil, err
	}
	document, err := r.handle(f, "document")
	if err != nil {
		return nil, err
	}
	node, err := callIn(r, f, dom.DescribeNode, dom.DescribeNodeParams{ObjectID: document})
	if err != nil {
		return nil, err
	}
	own, err := callIn(r, f, dom.ResolveNode, dom.ResolveNodeParams{BackendNodeID: node.Node.BackendNodeID, ObjectGroup: worldName})
	if err != nil {
		return nil, err
	}
	yes := true
	got, err := callIn(r, f, runtime.CallFunctionOn, runtime.CallFunctionOnParams{
		FunctionDeclaration: "async function () { const value = await (" + r.Expression + "\n); " + then + " }",
		ObjectID:            own.Object.ObjectID, ReturnByValue: &yes, AwaitPromise: &yes, UserGesture: &yes,
	})
	if err == nil {
		err = thrown(got.ExceptionDetails)
	}
	return got.Result, err
}

// evaluate evaluates the step's expression and keeps its value, if the step names it.
func (r *run) evaluate() error {
	then := ""
	if r.Name != "" {
		then = fmt.Sprintf("const text = typeof value === 'string' ? value : JSON.stringify(value) ?? ''; "+
			"if (text.length > %d) throw new RangeError('the value is too large for the result'); return value", maxExtract)
	}
	value, err := r.expression(then)
	var script *scriptError
	switch {
	case errors.As(err, &script):
		return &jobs.ActionError{Class: ClassScript, Message: script.said}
	case err != nil:
		return err
	case r.Name == "":
		return nil
	}
	raw := json.RawMessage(value.Value)
	if len(raw) == 0 {
		raw = json.RawMessage("null")
	}
	return r.keep(raw)
}

package steps

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/chromedp/cdproto"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"

	"github.com/jobcast/jobcast/jobs"
)

// pageScript is what steps call inside a page.
//
//go:embed page.js
var pageScript string

// worldName names the JavaScript world in which pageScript runs.
const worldName = "jobcast"

// frame is a document in a page, and the world in it that is ours.
type frame struct {
	tab   *tab // the page, or the target of an iframe that has a process of its own
	id    cdp.FrameID
	world runtime.ExecutionContextID

	parent *frame
	owner  runtime.RemoteObjectID // its iframe in parent's world
}

// errAbsent says that what a step looks for is not there, as its text tells.
type absentError string

func (e absentError) Error() string { return string(e) }

// frame finds the step's frame.
func (r *run) frame() (*frame, error) {
	f := &frame{tab: r.page, id: cdp.FrameID(r.page.target.TargetID)}
	if err := f.enter(r.ctx); err != nil {
		return nil, err
	}
	for _, index := range r.Frame {
		owner, err := r.handle(f, "frameAt", index)
		if err != nil {
			return nil, err
		}
		if owner == "" {
			return nil, absentError(fmt.Sprintf("no frame %d", int(index)))
		}
		inner, err := r.inside(f, owner)
		if err != nil {
			return nil, err
		}
		f = inner
	}
	return f, nil
}

// inside returns the frame of an iframe.
func (r *run) inside(outer *frame, owner runtime.RemoteObjectID) (*frame, error) {
	node, err := cdp.Call(r.ctx, outer.tab.target, dom.DescribeNode, dom.DescribeNodeParams{ObjectID: owner})
	if err != nil {
		return nil, err
	}
	f := &frame{tab: outer.tab, id: node.Node.FrameID, parent: outer, owner: owner}
	if f.id == "" {
		return nil, absentError("the frame is empty")
	}
	err = f.enter(r.ctx)
	var refused *cdproto.Error
	if errors.As(err, &refused) { // another process has it, under the frame's id
		if f.tab, err = r.join(r.ctx, target.ID(f.id), true); err == nil {
			err = f.enter(r.ctx)
		}
	}
	return f, err
}

// enter makes our world in the frame, unless it is there.
func (f *frame) enter(ctx context.Context) error {
	f.tab.mu.Lock()
	f.world = f.tab.worlds[f.id]
	f.tab.mu.Unlock()
	if f.world != 0 {
		return nil
	}
	made, err := cdp.Call(ctx, f.tab.target, page.CreateIsolatedWorld, page.CreateIsolatedWorldParams{FrameID: f.id, WorldName: worldName})
	if err != nil {
		return err
	}
	f.world = made.ExecutionContextID
	done, err := cdp.Call(ctx, f.tab.target, runtime.Evaluate, runtime.EvaluateParams{Expression: pageScript, ContextID: f.world})
	if err == nil {
		err = thrown(done.ExceptionDetails)
	}
	if err == nil {
		f.tab.mu.Lock()
		f.tab.worlds[f.id] = f.world
		f.tab.mu.Unlock()
	}
	return err
}

// leave forgets the frame's world, which may have gone with its document.
func (f *frame) leave() {
	f.tab.mu.Lock()
	defer f.tab.mu.Unlock()
	delete(f.tab.worlds, f.id)
}

// invoke calls a function of pageScript and decodes what it returns into out, unless out
// is nil. Arguments are values, or objects of the frame's world.
func (r *run) invoke(f *frame, function string, out any, args ...any) error {
	res, err := r.apply(f, function, true, args...)
	if err != nil || out == nil || len(res.Value) == 0 {
		return err
	}
	if err := json.Unmarshal(res.Value, out); err != nil {
		return fmt.Errorf("decode answer of %s: %w", function, err)
	}
	return nil
}

// handle calls a function of pageScript and returns the object that it returns, empty if
// that is null.
func (r *run) handle(f *frame, function string, args ...any) (runtime.RemoteObjectID, error) {
	res, err := r.apply(f, function, false, args...)
	if err != nil {
		return "", err
	}
	return res.ObjectID, nil
}

func (r *run) apply(f *frame, function string, byValue bool, args ...any) (*runtime.RemoteObject, error) {
	list := make([]*runtime.CallArgument, len(args))
	for i, arg := range args {
		if id, ok := arg.(runtime.RemoteObjectID); ok {
			list[i] = &runtime.CallArgument{ObjectID: id}
			continue
		}
		// An empty value would be left out of the command, so it is wrapped.
		raw, err := json.Marshal(map[string]any{"$": arg})
		if err != nil {
			return nil, fmt.Errorf("encode argument of %s: %w", function, err)
		}
		list[i] = &runtime.CallArgument{Value: raw}
	}
	yes := true
	res, err := cdp.Call(r.ctx, f.tab.target, runtime.CallFunctionOn, runtime.CallFunctionOnParams{
		FunctionDeclaration: "function (...args) { return jobcast." + function + "(...args.map((a) => '$' in a ? a.$ : a)) }",
		Arguments:           list, ExecutionContextID: f.world,
		ReturnByValue: &byValue, AwaitPromise: &yes, ObjectGroup: worldName,
	})
	if err == nil {
		err = thrown(res.ExceptionDetails)
	}
	if err != nil {
		return nil, err
	}
	return res.Result, nil
}

// thrown returns what a script has thrown, nil if nothing. The page's parser throws a
// SyntaxError at a selector that is none.
func thrown(e *runtime.ExceptionDetails) error {
	if e == nil {
		return nil
	}
	said := e.Text
	if e.Exception != nil && e.Exception.Description != "" {
		said = e.Exception.Description
	}
	return &scriptError{said: firstLine(said)}
}

// scriptError is what a script in the page has thrown.
type scriptError struct{ said string }

func (e *scriptError) Error() string { return e.said }

// inMain calls a function of pageScript in the page's main frame.
func (r *run) inMain(function string, out any, args ...any) error {
	f := &frame{tab: r.page, id: cdp.FrameID(r.page.target.TargetID)}
	if err := f.enter(r.ctx); err != nil {
		return err
	}
	err := r.invoke(f, function, out, args...)
	if err != nil {
		f.leave()
	}
	return err
}

// callIn sends a command to the target that a frame is in.
func callIn[P, R any](r *run, f *frame, c cdp.Command[P, R], params P) (R, error) {
	return cdp.Call(r.ctx, f.tab.target, c, params)
}

// settle waits until the page has taken what was done to it, and lets go of what our
// world has held for the step.
func (r *run) settle() {
	_ = r.inMain("settle", nil) // it may have gone: then it has taken it
	_, _ = call(r, runtime.ReleaseObjectGroup, runtime.ReleaseObjectGroupParams{ObjectGroup: worldName})
}

func invalidSelector(source string) error {
	return &jobs.ActionError{Class: ClassSelector, Message: fmt.Sprintf("%q is not a selector that the page can read", source)}
}

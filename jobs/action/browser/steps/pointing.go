package steps

import (
	"fmt"
	"time"

	"github.com/chromedp/cdproto/input"

	"github.com/jobcast/jobcast/jobs"
)

func (r *run) click() error       { return r.clicks(1) }
func (r *run) doubleClick() error { return r.clicks(2) }

// clicks waits for the element and clicks it n times.
func (r *run) clicks(n int64) error {
	e, err := r.find(r.pointed(toPoint))
	if err != nil {
		return err
	}
	return r.clickAt(e, n)
}

// pointed adds where in the element the pointer goes.
func (r *run) pointed(n need) need {
	if r.OffsetX != nil || r.OffsetY != nil {
		n.Offset = &offset{r.OffsetX, r.OffsetY}
	}
	return n
}

// clickAt clicks at an element's point.
func (r *run) clickAt(e found, n int64) error {
	r.loads, r.acted = e.file, true
	defer r.settle()
	if r.DeviceType == "touch" {
		for range n {
			if err := r.tap(e); err != nil {
				return err
			}
		}
		return nil
	}
	m := input.DispatchMouseEventParams{X: e.X, Y: e.Y, Modifiers: int64(r.held), Type: input.DispatchMouseEventTypeMouseMoved}
	if r.DeviceType == "pen" {
		m.PointerType = input.DispatchMouseEventPointerTypePen
	}
	if _, err := call(r, input.DispatchMouseEvent, m); err != nil {
		return err
	}
	m.Button = buttonOf(r.Button)
	for m.ClickCount = 1; m.ClickCount <= n; m.ClickCount++ {
		m.Type = input.DispatchMouseEventTypeMousePressed
		if _, err := call(r, input.DispatchMouseEvent, m); err != nil {
			return err
		}
		if err := r.hold(); err != nil {
			return err
		}
		m.Type = input.DispatchMouseEventTypeMouseReleased
		if _, err := call(r, input.DispatchMouseEvent, m); err != nil {
			return err
		}
	}
	return nil
}

// hold waits while the button is down.
func (r *run) hold() error {
	if r.Duration == 0 {
		return nil
	}
	return pause(r.ctx, time.Duration(r.Duration*float64(time.Millisecond)))
}

func (r *run) tap(e found) error {
	touch := func(kind input.DispatchTouchEventType, points ...*input.TouchPoint) error {
		_, err := call(r, input.DispatchTouchEvent, input.DispatchTouchEventParams{
			Type: kind, TouchPoints: append([]*input.TouchPoint{}, points...), Modifiers: int64(r.held),
		})
		return err
	}
	err := touch(input.DispatchTouchEventTypeTouchStart, &input.TouchPoint{X: e.X, Y: e.Y})
	if err == nil {
		err = r.hold()
	}
	if err == nil {
		err = touch(input.DispatchTouchEventTypeTouchEnd)
	}
	return err
}

func buttonOf(name string) input.MouseButton {
	switch name {
	case "auxiliary":
		return input.MouseButtonMiddle
	case "secondary":
		return input.MouseButtonRight
	case "back":
		return input.MouseButtonBack
	case "forward":
		return input.MouseButtonForward
	}
	return input.MouseButtonLeft
}

func (r *run) hover() error {
	e, err := r.find(r.pointed(toHover))
	if err != nil {
		return err
	}
	defer r.settle()
	_, err = call(r, input.DispatchMouseEvent, input.DispatchMouseEventParams{
		Type: input.DispatchMouseEventTypeMouseMoved, X: e.X, Y: e.Y, Modifiers: int64(r.held),
	})
	return err
}

func (r *run) check() error   { return r.tick(true) }
func (r *run) uncheck() error { return r.tick(false) }

// tick clicks a checkbox or radio button unless it is as it should be.
func (r *run) tick(want bool) error {
	e, err := r.find(toPoint)
	if err != nil {
		return err
	}
	var is bool
	if err := r.on(e, "ticked", &is); err != nil || is == want {
		return err
	}
	if err := r.clickAt(e, 1); err != nil {
		return err
	}
	// An error says that the page has moved on.
	if err := r.on(e, "ticked", &is); err == nil && is != want {
		return &jobs.ActionError{
			Class: ClassValue, Message: fmt.Sprintf("clicking %q did not change whether it is ticked", r.alternatives[e.index]),
		}
	}
	return nil
}

// scroll scrolls the page, or an element.
func (r *run) scroll() error {
	if len(r.alternatives) == 0 {
		return r.poll(func(int) (string, error) {
			f, err := r.frame()
			if err != nil {
				return "", err
			}
			return "", r.invoke(f, "scrollPage", nil, r.X, r.Y)
		}, func() string { return "document" })
	}
	e, err := r.find(need{Visible: true})
	if err != nil {
		return err
	}
	return r.on(e, "scrollHeld", nil, r.X, r.Y)
}

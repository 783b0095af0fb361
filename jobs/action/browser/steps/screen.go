package steps

import (
	"context"
	"sync"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
)

// What a live picture may cost.
const (
	screenPace    = 250 * time.Millisecond // between two frames at least
	screenRepeat  = 10 * time.Second       // after which a frame is shown again
	screenWidth   = 1280                   // of a frame at most, in pixels
	screenHeight  = 800
	screenQuality = 60              // of the JPEG, 0 to 100
	maxFrame      = 2 << 20         // bytes of a frame, which each looker shares
	screenCall    = 5 * time.Second // bounds a command
	screenAgain   = 3 * time.Second // after which a page that has sent nothing is asked again
)

// Screen is the live picture of the page that steps are about. While nobody looks, nothing
// of it runs, neither here nor in the browser. It is safe for concurrent use.
type Screen struct {
	repeat  time.Duration   // after which a frame is shown again
	ctx     context.Context // of the goroutine that looks after the lookers
	end     context.CancelFunc
	running sync.WaitGroup
	changed chan struct{} // capacity one: something that follows has changed

	mu      sync.Mutex                 // guards what follows
	about   *tab                       // the page
	cast    *tab                       // that sends frames; nil: none
	come    *page.EventScreencastFrame // not shown yet; nil: none
	frame   []byte                     // shown last; nil: none
	number  int                        // of frame; grows each time that one is shown
	lookers map[*Look]struct{}
	runs    bool // the goroutine does
	over    bool
}

// Look is one looker at a screen.
type Look struct {
	screen *Screen
	wake   func()
	waits  bool // for its first frame; guarded by screen.mu
}

// newScreen returns a screen that ends with ctx at the latest.
func newScreen(ctx context.Context) *Screen {
	s := &Screen{repeat: screenRepeat, changed: make(chan struct{}, 1), lookers: make(map[*Look]struct{})}
	s.ctx, s.end = context.WithCancel(ctx)
	return s
}

// Look begins to look. wake is called when there is another frame, and at the end; it must
// not block, and may be called once more after Close. It returns nil if the pages are gone.
func (s *Screen) Look(wake func()) *Look {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return nil
	}
	l := &Look{screen: s, wake: wake, waits: true}
	s.lookers[l] = struct{}{}
	if !s.runs {
		s.runs = true
		s.running.Go(s.run)
	}
	s.poke()
	return l
}

// Newest returns the newest frame, a JPEG that nobody changes, and its number, which has
// grown since if it is shown anew; none yet: nil. over says that there will be no other.
func (l *Look) Newest() (jpeg []byte, number int, over bool) {
	s := l.screen
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.waits {
		return nil, 0, s.over
	}
	return s.frame, s.number, s.over
}

// Close ends the look. Further calls do nothing.
func (l *Look) Close() {
	s := l.screen
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.lookers, l)
	s.poke()
}

// turnTo makes the screen show another page.
func (s *Screen) turnTo(p *tab) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.about != p {
		s.about = p
		s.poke()
	}
}

// heard takes a frame. It neither blocks nor sends a command.
func (s *Screen) heard(from *tab, ev *page.EventScreencastFrame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if from == s.cast {
		s.come = ev
		s.poke()
	}
}

// poke makes the goroutine look again, if there is one.
func (s *Screen) poke() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// close ends all looks, and waits until nothing of the screen runs.
func (s *Screen) close() {
	s.finish()
	s.end()
	s.running.Wait()
}

// finish tells the lookers that it is over.
func (s *Screen) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	for l := range s.lookers {
		l.wake()
	}
}

// pace is what the goroutine knows of time.
type pace struct {
	asked time.Time                  // when the page was asked for frames
	came  bool                       // it has sent one since
	shown time.Time                  // when anybody was shown a frame last
	whole time.Time                  // when everybody was
	owed  *page.EventScreencastFrame // not acknowledged, so that no other comes; nil: none
}

// ignored reports whether a page that was asked for frames sends none, as one may that is
// about to come to another document.
func (p *pace) ignored(now time.Time) bool { return !p.came && now.Sub(p.asked) >= screenAgain }

// next returns when there is something to do although nothing comes.
func (p *pace) next(now time.Time, repeat time.Duration) time.Time {
	next := p.whole.Add(repeat)
	if again := p.asked.Add(screenAgain); !p.came && (p.whole.IsZero() || again.Before(next)) {
		next = again
	}
	if soon := now.Add(screenPace); next.Before(soon) {
		return soon
	}
	return next
}

// run lasts until nobody looks any more.
func (s *Screen) run() {
	var p pace
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		on, want, more := s.wants()
		switch {
		case !more:
			return
		case on != want || p.ignored(time.Now()):
			s.move(on, want)
			p.owed, p.came, p.asked = nil, false, time.Now()
			continue
		}
		timer.Reset(time.Until(s.step(&p, on, time.Now())))
		select {
		case <-s.changed:
		case <-timer.C:
		case <-s.ctx.Done():
			s.finish()
			return
		}
	}
}

// wants returns the page that sends frames and the one that should; more is false if
// neither does, and so nothing is left to do.
func (s *Screen) wants() (on, want *tab, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.lookers) > 0 && !s.over {
		want = s.about
	}
	s.runs = want != nil || s.cast != nil
	return s.cast, want, s.runs
}

// move lets another page send frames; nil: none.
func (s *Screen) move(from, to *tab) {
	s.mu.Lock()
	s.cast, s.come = to, nil
	if to == nil {
		s.frame = nil // it would be old when somebody comes
	}
	s.mu.Unlock()
	if from != nil {
		tell(s, from, page.StopScreencast, cdp.Empty{})
	}
	if to != nil {
		quality, yes := int64(screenQuality), true
		tell(s, to, page.StartScreencast, page.StartScreencastParams{
			Format: page.StartScreencastFormatJpeg, Quality: &quality, MaxWidth: screenWidth, MaxHeight: screenHeight,
			MaxFramesInFlight: 1, SendLastFrame: &yes, // the newest one comes when the one before is acknowledged
		})
	}
}

// tell sends a command to a page. One that is gone sends no frames, and the last one stays.
func tell[P any](s *Screen, to *tab, c cdp.Command[P, cdp.Empty], params P) {
	ctx, cancel := context.WithTimeout(s.ctx, screenCall)
	defer cancel()
	_, _ = cdp.Call(ctx, to.target, c, params)
}

// step does what is due on a page that sends frames, and returns when to look again.
func (s *Screen) step(p *pace, on *tab, now time.Time) time.Time {
	if due := p.shown.Add(screenPace); now.Before(due) {
		return due
	}
	s.mu.Lock()
	ev := s.come
	s.come = nil
	switch {
	case ev != nil && len(ev.Data) <= maxFrame:
		s.frame = ev.Data
		s.show(p, now)
	case s.frame != nil && now.Sub(p.whole) >= s.repeat:
		s.show(p, now)
	case s.frame != nil:
		for l := range s.lookers {
			if l.waits {
				l.waits, p.shown = false, now
				l.wake()
			}
		}
	}
	s.mu.Unlock()
	switch {
	case ev != nil:
		p.owed, p.came, p.shown = ev, true, now
		return now.Add(screenPace)
	case p.owed != nil:
		tell(s, on, page.ScreencastFrameAck, page.ScreencastFrameAckParams{SessionID: p.owed.SessionID})
		p.owed = nil
	}
	return p.next(now, s.repeat)
}

// show shows the frame to everybody. s.mu is held.
func (s *Screen) show(p *pace, now time.Time) {
	s.number++
	p.shown, p.whole = now, now
	for l := range s.lookers {
		l.waits = false
		l.wake()
	}
}

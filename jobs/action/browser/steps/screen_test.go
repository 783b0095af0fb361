package steps

import (
	"bytes"
	"context"
	"image/jpeg"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// gaze is a look, and when there was something new.
type gaze struct {
	*Look
	t     *testing.T
	woken chan struct{}
}

func (p *player) look() *gaze {
	p.t.Helper()
	g := &gaze{t: p.t, woken: make(chan struct{}, 1)}
	g.Look = p.session.Screen().Look(func() {
		select {
		case g.woken <- struct{}{}:
		default:
		}
	})
	if g.Look == nil {
		p.t.Fatal("there is nothing to look at")
	}
	return g
}

// until waits for a frame.
func (g *gaze) until(what string, is func(frame []byte, number int) bool) (frame []byte, number int) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), 20*time.Second)
	defer cancel()
	for {
		frame, number, over := g.Newest()
		if frame != nil && is(frame, number) {
			return frame, number
		}
		select {
		case <-g.woken:
		case <-ctx.Done():
			over = true
		}
		if over {
			g.t.Fatalf("in vain: %s", what)
		}
	}
}

// colour reports whether the middle of a frame has a colour, of 0 to 255 each.
func colour(t *testing.T, r, g, b int) func([]byte, int) bool {
	return func(frame []byte, _ int) bool {
		picture, err := jpeg.Decode(bytes.NewReader(frame))
		if err != nil {
			t.Fatal(err)
		}
		size := picture.Bounds()
		if size.Dx() > screenWidth || size.Dy() > screenHeight {
			t.Fatalf("a frame of %v", size)
		}
		r0, g0, b0, _ := picture.At(size.Dx()/2, size.Dy()/2).RGBA()
		near := func(a uint32, b int) bool { return int(a>>8) > b-9 && int(a>>8) < b+9 }
		return near(r0, r) && near(g0, g) && near(b0, b)
	}
}

// TestScreen: lookers share frames, at most four a second, of the page that steps are
// about; what does not move is shown again; nothing runs while nobody looks.
func TestScreen(t *testing.T) {
	t.Parallel()
	site := newSite(t)
	site.page("/moves", `<script>
		let n = 0
		const move = () => { document.body.style.background = n++ % 2 ? 'red' : 'green'; requestAnimationFrame(move) }
		move()</script>`)
	site.page("/still", `<body style="background:yellow">`)
	site.page("/other", `<body style="background:blue">`)
	p := newPlayer(t, Config{})
	screen := p.session.Screen()
	screen.repeat = 400 * time.Millisecond
	var frames atomic.Int64 // that the browser has made
	if err := chromedp.Listen(p.tab, func(ev any) {
		if _, ok := ev.(*page.EventScreencastFrame); ok {
			frames.Add(1)
		}
	}); err != nil {
		t.Fatal(err)
	}
	pass := func(what string) {
		t.Helper()
		screen.running.Wait()
		before := frames.Load()
		p.text(`new Promise((done) => setTimeout(done, 200, ''))`)
		if n := frames.Load() - before; n != 0 {
			t.Errorf("%s the browser made %d frames", what, n)
		}
	}
	p.must(open(site.URL + "/moves"))
	pass("before anybody looks")

	first, second := p.look(), p.look()
	anyFrame := func([]byte, int) bool { return true }
	_, began := first.until("a frame", anyFrame)
	begin := time.Now()
	const shown = 5
	frame, _ := first.until("frames", func(_ []byte, n int) bool { return n >= began+shown })
	if took := time.Since(begin); took < (shown-1)*250*time.Millisecond {
		t.Errorf("%d frames came within %v", shown, took)
	}
	if same, _, _ := second.Newest(); len(same) == 0 || len(frame) == 0 || &same[0] != &frame[0] {
		if _, n, _ := first.Newest(); n == began+shown { // else the next one has come
			t.Error("two lookers have a copy each")
		}
	}
	first.Close()
	_, n := second.until("a frame", anyFrame)
	second.until("frames for the one who stays", func(_ []byte, m int) bool { return m > n })
	second.Close()
	pass("after the last one has left")

	p.must(open(site.URL + "/still"))
	look := p.look()
	frame, n = look.until("the page", colour(t, 255, 255, 0))
	again, _ := look.until("the same frame", func(_ []byte, m int) bool { return m > n })
	if !bytes.Equal(frame, again) {
		t.Error("a page that stands still has changed")
	}
	p.text(`document.body.style.background = '#0f0'`)
	look.until("what has changed last", colour(t, 0, 255, 0))
	p.text(`void open('/other') || ''`)
	p.must(`{"type":"waitForElement","selector":"body","target":"` + site.URL + `/other"}`)
	look.until("the other page", colour(t, 0, 0, 255))
	p.must(`{"type":"waitForElement","selector":"body"}`)
	look.until("the first page", colour(t, 0, 255, 0))
	p.session.Screen().close()
	if _, _, over := look.Newest(); !over || screen.Look(func() {}) != nil {
		t.Error("a closed session can be looked at")
	}
}

// TestScreenPace: a screen whose page sends nothing neither spins nor waits for ever.
func TestScreenPace(t *testing.T) {
	now := time.Now()
	asked := pace{asked: now}
	if next := asked.next(now, screenRepeat); !next.Equal(now.Add(screenAgain)) || asked.ignored(now) || !asked.ignored(next) {
		t.Errorf("a page that was just asked is looked at in %v", next.Sub(now))
	}
	late := now.Add(time.Hour)
	for _, p := range []pace{{}, {asked: now}, {asked: now, came: true}, {asked: now, whole: now}, {asked: now, came: true, whole: now}} {
		if next := p.next(late, screenRepeat); next.Before(late.Add(screenPace)) {
			t.Errorf("%+v: looked at in %v", p, next.Sub(late))
		}
	}
	moved := pace{asked: now, whole: now.Add(-screenRepeat + time.Second)} // another page's frame is shown meanwhile
	if next := moved.next(now, screenRepeat); !next.Equal(now.Add(time.Second)) {
		t.Errorf("a page that follows another is looked at in %v", next.Sub(now))
	}
}

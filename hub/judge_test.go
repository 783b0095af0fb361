package hub

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobcast/jobcast/eventlog"
)

// slowReader takes so long to answer, after it has looked.
type slowReader struct {
	eventlog.Reader
	open, page time.Duration
}

func (s *slowReader) Open(ctx context.Context, r eventlog.Room, at *eventlog.Cursor) (eventlog.Opened, error) {
	took := s.open // of this call, whatever is set meanwhile
	o, err := s.Reader.Open(ctx, r, at)
	time.Sleep(took)
	return o, err
}

func (s *slowReader) Page(ctx context.Context, r eventlog.Room, after uint64, maxEvents, maxBytes int) (eventlog.Page, error) {
	took := s.page
	p, err := s.Reader.Page(ctx, r, after, maxEvents, maxBytes)
	time.Sleep(took)
	return p, err
}

// TestToldWhileTheStoreIsRead: what is told of while the store is read for what was told
// before is read as well.
func TestToldWhileTheStoreIsRead(t *testing.T) {
	inWorld(t, func(t *testing.T, x *world) {
		r := follow(t, x, "a")
		x.hub.log = &slowReader{Reader: x, open: time.Millisecond}
		x.hub.Recheck("acme")
		synctest.Wait() // the store has looked
		x.commits("a")
		x.hub.Advance("acme", "e1", 4)
		time.Sleep(10 * time.Millisecond)
		equal(t, now(r), "e1-4")
	})
}

// TestLossWhileARoomIsRead: a room in the middle of its history begins anew where it is.
func TestLossWhileARoomIsRead(t *testing.T) {
	inWorld(t, func(t *testing.T, x *world) {
		x.commits("a", "a", "a")
		r := newReader(x.hub)
		defer r.sub.Close()
		join(t, r, "a", Start{})
		var items []Item
		for len(items) < 3 {
			items, _ = r.sub.Next(items, 2, 1<<20)
			synctest.Wait()
		}
		equal(t, items, "started:a@0-0", "e1-1", "e1-3")
		x.loses(2)
		x.hub.Publish(x.commits("a"))
		equal(t, now(r), "started:a@e1-3", "e1-4", "e2-5", "live:a@e2-5")
	})
}

// TestLossWithoutARoom: a subscription that has left its rooms does not stay where the
// log is not any more.
func TestLossWithoutARoom(t *testing.T) {
	inWorld(t, func(t *testing.T, x *world) {
		r := follow(t, x, "")
		x.hub.Publish(x.commits("a", "a", "a"))
		equal(t, now(r), "e1-4", "e1-5", "e1-6")
		r.sub.Leave("")
		x.loses(4)
		join(t, r, "a", Start{From: FromNow})
		equal(t, now(r), "started:a@e1-2", "live:a@e1-2")
		x.hub.Publish(x.commits("a", "a"))
		equal(t, now(r), "e2-3", "e2-4")
	})
}

// TestJoinWhileJudged: a room whose cursor was judged before the log lost it, and that is
// joined while the other rooms are judged anew, is judged anew too.
func TestJoinWhileJudged(t *testing.T) {
	inWorld(t, func(t *testing.T, x *world) {
		slow := &slowReader{Reader: x}
		x.hub.log = slow
		r := follow(t, x, "a")
		x.hub.Publish(x.commits("b", "a"))
		equal(t, now(r), "e1-5")

		slow.open = 3 * time.Millisecond
		joined := make(chan error)
		go func() {
			_, err := r.sub.Join(t.Context(), "b", Start{Cursor: &eventlog.Cursor{Epoch: "e1", Seq: 5}})
			joined <- err
		}()
		synctest.Wait()
		x.loses(2)
		slow.open = time.Millisecond
		x.hub.Recheck("acme")
		time.Sleep(time.Millisecond)
		synctest.Wait()
		slow.open = 2 * time.Millisecond // the judgement ends after the join
		r.sub.Next(nil, 1, 1)
		if err := <-joined; err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
		items := now(r)
		for range 5 {
			time.Sleep(10 * time.Millisecond)
			items = append(items, now(r)...)
		}
		equal(t, items, "started:b@e1-1", "reset:b@e1-1", "e1-2", "live:b@e1-3",
			"started:a@0-0", "reset:a@0-0", "e1-1", "e1-3", "live:a@e1-3")
	})
}

// brokenRoom is a store that cannot read what belongs to one room; with no room it is well.
type brokenRoom struct {
	eventlog.Reader
	room atomic.Pointer[string]
}

var errBroken = errors.New("disk")

func (b *brokenRoom) broken(r eventlog.Room) error {
	if job := b.room.Load(); job != nil && *job == r.Job {
		return errBroken
	}
	return nil
}

func (b *brokenRoom) Open(ctx context.Context, r eventlog.Room, at *eventlog.Cursor) (eventlog.Opened, error) {
	if err := b.broken(r); err != nil {
		return eventlog.Opened{}, err
	}
	return b.Reader.Open(ctx, r, at)
}

func (b *brokenRoom) Page(ctx context.Context, r eventlog.Room, after uint64, maxEvents, maxBytes int) (eventlog.Page, error) {
	if err := b.broken(r); err != nil {
		return eventlog.Page{}, err
	}
	return b.Reader.Page(ctx, r, after, maxEvents, maxBytes)
}

// TestRefusedAtOnce: a room that cannot be judged is refused before another room goes on
// behind it, though the log has become shorter than where the room stood.
func TestRefusedAtOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, x *world) {
		broken := &brokenRoom{Reader: x}
		x.hub.log = broken
		r := follow(t, x, "")
		join(t, r, "b", Start{From: FromNow})
		x.hub.Publish(x.commits("a", "b"))
		equal(t, now(r), "started:b@e1-3", "live:b@e1-3", "e1-4", "e1-5")
		b := "b"
		broken.room.Store(&b)
		x.loses(4)
		x.hub.Publish(x.commits("a"))
		equal(t, now(r), "started:@e2-2", "reset:@e2-2", "live:@e2-2", "fault:b@")
		x.hub.Publish(x.commits("b"))
		equal(t, now(r), "e2-3")
	})
}

// TestPositionAfterRefusal: a subscription whose place in the log could not be judged, and
// whose rooms were all refused, begins with its next room where the log is then.
func TestPositionAfterRefusal(t *testing.T) {
	inWorld(t, func(t *testing.T, x *world) {
		broken := &brokenRoom{Reader: x}
		x.hub.log = broken
		r, other := follow(t, x, ""), follow(t, x, "a") // the tail stays
		x.hub.Publish(x.commits("a", "a", "a", "a"))
		equal(t, now(r), "e1-4", "e1-5", "e1-6", "e1-7")
		equal(t, now(other), "e1-4", "e1-5", "e1-6", "e1-7")
		all := ""
		broken.room.Store(&all)
		x.loses(5)
		x.hub.Publish(x.commits("a"))
		equal(t, now(r), "fault:@")
		broken.room.Store(nil)
		join(t, r, "a", Start{From: FromNow})
		equal(t, now(r), "started:a@e2-3", "live:a@e2-3")
		x.hub.Publish(x.commits("a", "b"))
		equal(t, now(r), "e2-4")
	})
}

// TestPageFromBeforeTheLoss: a page that was asked for at a position that the log has
// lost since, and was read when the log was shorter than it is at the position of now, is
// not all that there is up to that.
func TestPageFromBeforeTheLoss(t *testing.T) {
	inWorld(t, func(t *testing.T, x *world) {
		slow := &slowReader{Reader: x, page: 5 * time.Millisecond}
		x.hub.log = slow
		x.commits(slices.Repeat([]string{"b"}, 10)...)
		r := newReader(x.hub)
		defer r.sub.Close()
		join(t, r, "b", Start{})
		items, _ := r.sub.Next(nil, 100, 1<<20) // at position 13 a page is asked for
		synctest.Wait()
		slow.open = 10 * time.Millisecond
		x.loses(8)
		x.commits("a")
		x.hub.Recheck("acme")
		time.Sleep(11 * time.Millisecond)
		synctest.Wait() // the tail has begun anew, and the page is read again
		slow.open = 0
		x.commits("b")
		for range 5 {
			items, _ = r.sub.Next(items, 100, 1<<20)
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
		}
		equal(t, items, "started:b@e1-1", "started:b@e1-1", "e1-2", "e1-4", "e1-5", "e2-7", "live:b@e2-7")
	})
}

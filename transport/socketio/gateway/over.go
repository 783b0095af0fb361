package gateway

import (
	"context"
	"slices"
	"time"

	"github.com/jobcast/jobcast/transport/hub"
)

// Limits of rooms that have ended.
const (
	maxEnded   = 1024 // sessions whose rooms wait to be removed; others do it with their next join
	maxRejoins = 16   // joins of one job that has ended; with more, the oldest leaves the store early
	cleaners   = 4    // who remove rooms
	maxCleaned = 200  // rooms in one transaction, which the commits of others wait for
)

// over is a room that has ended. It stays in the store until the client must have
// received its end: if the connection is cut before, it is read once more.
type over struct {
	n   int64 // of its join
	job string
	due time.Time // it may leave the store then
}

// ended are rooms of a session that may leave the store.
type ended struct {
	session *session
	rooms   []over
}

// ended notes that a room is no more.
func (n *session) ended(m *hub.Mark) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if r := n.rooms.of(m.Room.Job); r != nil && r.n == m.N {
		n.outlive(*r)
		n.rooms.remove(m.Room.Job)
	}
}

// outlive puts a room to those that are over. mu is held.
func (n *session) outlive(r room) {
	n.over = append(n.over, over{r.n, r.job, time.Now().Add(provenAfter)})
}

// settled takes rooms that may leave the store when a job is joined: those whose
// ends the client has received, and the oldest of the job if they are many.
func (n *session) settled(job string) []over {
	n.mu.Lock()
	defer n.mu.Unlock()
	crowd := 1 - maxRejoins
	for _, o := range n.over {
		if o.job == job {
			crowd++
		}
	}
	now, left := time.Now(), maxCleaned
	return n.takeOver(func(o over) bool {
		if o.job == job {
			crowd--
		}
		out := left > 0 && (!o.due.After(now) || o.job == job && crowd >= 0)
		if out {
			left--
		}
		return out
	})
}

// takeOver takes rooms out of those that are over, oldest first. mu is held.
func (n *session) takeOver(out func(over) bool) (gone []over) {
	n.over = slices.DeleteFunc(n.over, func(o over) bool {
		taken := out(o)
		if taken {
			gone = append(gone, o)
		}
		return taken
	})
	return gone
}

// keep is the reverse of takeOver: the rooms could not be removed.
func (n *session) keep(gone []over) {
	n.mu.Lock()
	n.over = slices.Concat(gone, n.over)
	n.mu.Unlock()
}

func numbers(rooms []over) []int64 {
	var ns []int64
	for _, o := range rooms {
		ns = append(ns, o.n)
	}
	return ns
}

// cleanUp has rooms removed whose ends the client has received: its connection
// stands.
func (n *session) cleanUp(now time.Time) {
	n.mu.Lock()
	gone := n.takeOver(func(o over) bool { return !o.due.After(now) })
	n.mu.Unlock()
	if len(gone) == 0 {
		return
	}
	select {
	case n.g.ended <- ended{n, gone}:
	default: // they are busy: the next join or tick does it
		n.keep(gone)
	}
}

// clean removes rooms that have ended from the store, so that a client which comes
// back later is not told once more of their end.
func (g *Gateway) clean(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-g.ended:
			g.remove(ctx, e)
		}
	}
}

func (g *Gateway) remove(ctx context.Context, e ended) {
	n := e.session
	for rooms := range slices.Chunk(e.rooms, maxCleaned) {
		if !g.has(n) { // whoever has it now has read its rooms anew
			return
		}
		err := g.opt.Sessions.LeaveRooms(ctx, n.who.ClientID, n.id, numbers(rooms))
		if err == nil {
			continue
		}
		n.keep(rooms)
		if ctx.Err() == nil {
			g.opt.Log.Warn("remove ended rooms", "error", err)
		}
	}
}

// has reports whether n is the live connection of its session.
func (g *Gateway) has(n *session) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.live[n.id] == n
}

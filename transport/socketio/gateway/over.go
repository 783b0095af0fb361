package gateway

import (
	"context"
	"slices"
	"time"

	"github.com/jobcast/jobcast/hub"
	"github.com/jobcast/jobcast/transport/socketio/session"
)

// Limits of rooms that have ended.
const (
	maxEnded   = 1024 // sessions whose rooms wait to be removed; others do it with their next join
	maxRejoins = 16   // joins of one job that has ended; with more, some leave the store early
	cleaners   = 4    // who remove rooms
	maxCleaned = 200  // rooms in one transaction, which the commits of others wait for
)

// over is a room that has ended. In the store it is as it was until the client must
// have received its end: if the connection is cut before, it is read once more.
type over struct {
	n     int64 // of its join
	job   string
	start uint64    // see room
	end   uint64    // see room; 0: the job is no more
	due   time.Time // the client must have been told by then
}

// ends notes that a room's end is taken, and with it the job's last event. mu is held.
func (n *conn) ends(m *hub.Mark) {
	if r := n.rooms.of(m.Room.Job); r != nil && r.n == m.N {
		r.end = m.Seq
	}
	if !n.recovered {
		return
	}
	n.told = append(slices.DeleteFunc(n.told, func(job string) bool { return job == m.Room.Job }), m.Room.Job)
	n.told = n.told[max(0, len(n.told)-session.MaxEnds):]
}

// knowsEnd reports whether the client was told of a job's end, and this is a recovered
// session: then nothing of the job is news to it.
func (n *conn) knowsEnd(job string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Contains(n.told, job)
}

// ended are rooms of a session that may leave the store.
type ended struct {
	session *conn
	rooms   []over
}

// ended notes that a room is no more.
func (n *conn) ended(m *hub.Mark) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if r := n.rooms.of(m.Room.Job); r != nil && r.n == m.N {
		n.outlive(*r)
		n.rooms.remove(m.Room.Job)
	}
}

// outlive puts a room to those that are over. mu is held.
func (n *conn) outlive(r room) {
	n.over = append(n.over, over{r.n, r.job, r.start, r.end, time.Now().Add(provenAfter)})
}

// crowded takes the oldest rooms of a job that is joined once more, if they are many.
// The one that goes back furthest stays: it owes all that the others owe.
func (n *conn) crowded(job string) []over {
	n.mu.Lock()
	defer n.mu.Unlock()
	crowd := 1 - maxRejoins
	var far over
	for _, o := range n.over {
		if o.job != job {
			continue
		}
		crowd++
		if far.n == 0 || o.start < far.start {
			far = o
		}
	}
	return n.takeOver(func(o over) bool {
		out := o.job == job && o.n != far.n && crowd > 0
		if out {
			crowd--
		}
		return out
	})
}

// takeOver takes rooms out of those that are over, oldest first. mu is held.
func (n *conn) takeOver(out func(over) bool) (gone []over) {
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
func (n *conn) keep(gone []over) {
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

// cleanUp has rooms noted as over whose ends the client has received: its connection
// stands.
func (n *conn) cleanUp(now time.Time) {
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
		live, err := g.removeSome(ctx, n, rooms)
		if !live { // whoever has it now has read its rooms anew
			return
		}
		if err == nil {
			continue
		}
		n.keep(rooms)
		if ctx.Err() == nil {
			g.opt.Log.Warn("ended rooms could not be removed", "error", err)
		}
	}
}

// removeSome is remove for one transaction, unless n is not live any more. Nobody takes
// the session over meanwhile: a newer connection would write rooms it has read before.
func (g *Gateway) removeSome(ctx context.Context, n *conn, rooms []over) (live bool, err error) {
	defer g.lock(n.id).Unlock()
	if !g.has(n) {
		return false, nil
	}
	return true, n.drop(ctx, rooms)
}

// drop takes rooms out of the store that are joined no more. Those that have ended are
// remembered.
func (n *conn) drop(ctx context.Context, gone []over) error {
	var left []over
	var ends []session.End
	for _, o := range gone {
		if o.end == 0 {
			left = append(left, o)
		} else {
			ends = append(ends, session.End{N: o.n, End: o.end})
		}
	}
	if len(left) > 0 {
		if err := n.g.opt.Sessions.LeaveRooms(ctx, n.who.ClientID, n.id, numbers(left)); err != nil {
			return err
		}
	}
	if len(ends) == 0 {
		return nil
	}
	return n.g.opt.Sessions.EndRooms(ctx, n.who.ClientID, n.id, ends)
}

// has reports whether n is the live connection of its session.
func (g *Gateway) has(n *conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.live[n.id] == n
}

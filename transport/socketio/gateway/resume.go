package gateway

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/hub"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
	"github.com/jobcast/jobcast/transport/socketio/session"
)

// begin makes n the session that the client asks for, or a new one, and returns its
// secret.
func (n *conn) begin(ctx context.Context, c credentials, by auth.Principal) (pid, error) {
	if p, ok := parsePID(n.g.opt.Signer, n.who.ClientID, c.PID); ok && n.g.opt.Offset != OffsetOff {
		if o, ok := parseOffset(c.Offset); ok {
			defer n.g.lock(p.id).Unlock()
			done, err := n.resume(ctx, p, o, by)
			if done || err != nil {
				return p, err
			}
		}
	}
	return n.fresh(ctx, by)
}

// fresh begins a new session at the newest event.
func (n *conn) fresh(ctx context.Context, by auth.Principal) (pid, error) {
	head, err := n.g.opt.Hub.Head(ctx, n.who.ClientID)
	if err != nil {
		return pid{}, err
	}
	start, ok := eventlog.ParseCursor(head)
	if !ok {
		return pid{}, errors.New("gateway: the log has no head")
	}
	p := newPID(start, n.opened)
	n.id, n.joins = p.id, p.base()
	n.recovered, n.told = false, nil // it is not the session that was asked for
	n.place = place{position: start.String()}
	if err := n.admit(by, nil); err != nil {
		return pid{}, err
	}
	n.g.register(n)
	return p, nil
}

// admit takes a slot, beside that of an older connection (nil: there is none) which
// will give its own back.
func (n *conn) admit(by auth.Principal, old *conn) (err error) {
	var instead *transport.Admission
	if old != nil {
		old.mu.Lock()
		instead = old.admission
		old.mu.Unlock()
	}
	n.admission, err = transport.OpenStreamInstead(context.Background(), n.g.opt.Streams, instead, by, kind)
	return err
}

// register makes n the live connection of its session.
func (g *Gateway) register(n *conn) {
	g.mu.Lock()
	g.live[n.id] = n
	g.mu.Unlock()
	n.admission.OnEnd(n) // before anybody else can take the session over
}

// resume goes on with an older session. done is false if that is not possible
// and a new one must begin. A connection that the session still has stands still
// meanwhile, as far as its rooms go, and ends when nothing can be refused any more:
// a refusal of whatever kind leaves it alone.
func (n *conn) resume(ctx context.Context, p pid, o offset, by auth.Principal) (done bool, err error) {
	g := n.g
	g.mu.Lock()
	old := g.live[p.id]
	g.mu.Unlock()
	if old != nil {
		old.joining.Lock() // what is being committed is committed then
		defer old.joining.Unlock()
	}
	state, err := g.opt.Sessions.Session(ctx, n.who.ClientID, p.id)
	if err != nil {
		return false, err
	}
	expired := state.SeenAt
	if expired.IsZero() {
		expired = time.Unix(p.made, 0) // it had rooms that were swept, or never any
	}
	if state.Left || old == nil && expired.Before(n.g.ages.Before(resumable)) {
		return false, nil
	}
	n.id, n.joins = p.id, p.base()
	done, err = n.revive(ctx, p, o, state.Rooms, by, old)
	if done && old != nil { // its client is here, so the old connection is of no use
		old.yield()
	}
	return done, err
}

// revive gives n its rooms back.
func (n *conn) revive(ctx context.Context, p pid, o offset, rooms []session.Room, by auth.Principal, old *conn) (done bool, err error) {
	var over []session.Room
	for _, r := range rooms {
		n.joins = max(n.joins, r.N)
		if r.End > 0 {
			over = append(over, r)
		} else if !n.who.Sees(r.Job) {
			return false, nil // whoever is told that the session goes on takes all its rooms for joined
		}
	}
	rooms = slices.DeleteFunc(rooms, func(r session.Room) bool { return r.End > 0 })
	o, resumed := p.revive(o, rooms)
	ended := o.toldOf(over)
	n.remember(ended)
	n.joins = max(n.joins, o.n) // of a room that was left: its number must not come again while it is the client's offset
	rooms, resumed = oneOfEach(o, rooms, resumed)
	at := o.position
	opened, err := n.g.opt.Hub.Open(ctx, n.who.ClientID, at)
	if err != nil {
		return false, err
	}
	switch opened.Reason {
	case eventlog.Valid:
	case eventlog.ReasonPruned:
		head, ok := eventlog.ParseCursor(opened.HeadID)
		if !ok || hasClientRoom(rooms) {
			return false, nil
		}
		rebase(o.position, head, n.joins, rooms, resumed)
		n.joins += int64(len(rooms))
		o, at = offset{position: head}, head
	default:
		return false, nil
	}
	if err := n.admit(by, old); err != nil {
		return false, err
	}
	n.place = o.place()
	if err := n.restore(ctx, at, rooms, resumed); err != nil {
		return false, err
	}
	if len(rooms) > 0 || len(ended) < len(over) {
		if err := n.g.opt.Sessions.ReplaceRooms(ctx, n.who.ClientID, n.id, slices.Concat(rooms, ended)); err != nil {
			return false, err
		}
	}
	n.g.register(n)
	n.g.opt.Observe.Outcome(kind, "resumed")
	return true, nil
}

// remember sets which jobs have ended for the client.
func (n *conn) remember(ended []session.Room) {
	n.recovered, n.told = true, nil
	slices.SortFunc(ended, func(a, b session.Room) int { return cmp.Compare(a.End, b.End) })
	for _, r := range ended {
		n.told = append(n.told, r.Job)
	}
}

// restore lets the rooms go on.
func (n *conn) restore(ctx context.Context, at eventlog.Cursor, rooms []session.Room, resumed []hub.Resumed) error {
	if len(rooms) == 0 {
		return nil
	}
	for i, r := range resumed {
		n.rooms.put(room{job: r.Job, n: r.N, start: rooms[i].Start.Seq})
		if r.Live {
			n.begun = max(n.begun, r.N)
		}
	}
	lost, err := n.sub.Resume(ctx, at, resumed, func(err error) bool { return errors.Is(err, jobs.ErrNotFound) })
	n.rooms = slices.DeleteFunc(n.rooms, func(r room) bool {
		out := slices.Contains(lost, r.n) // retention has deleted its job
		if out {
			n.outlive(r)
			n.control = append(n.control, answers(nil, goneFrame(r.job), false)...)
		}
		return out
	})
	return err
}

func hasClientRoom(rooms []session.Room) bool {
	for _, r := range rooms {
		if r.Job == "" {
			return true
		}
	}
	return false
}

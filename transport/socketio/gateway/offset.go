package gateway

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/hub"
	"github.com/jobcast/jobcast/transport/socketio/session"
)

// Offset says how offsets reach a client.
type Offset string

// The ways.
const (
	// OffsetEvent is a packet of its own, behind what one write carries: an event
	// without an argument whose name is the offset. The official client keeps the
	// last string of an event, and no handler hears of it. Whoever is cut between
	// the two gets the events of that write once more.
	OffsetEvent Offset = "event"
	// OffsetArgument is a last argument of each event, as the official servers have
	// it. Each event comes once.
	OffsetArgument Offset = "argument"
	// OffsetOff is none: a session ends with its connection.
	OffsetOff Offset = "off"
)

// forgetful keeps nothing of sessions that cannot be resumed. Those that older
// processes have kept are swept all the same.
type forgetful struct{ session.Store }

func (forgetful) JoinRoom(context.Context, string, string, session.Room, []int64) error {
	return nil
}
func (forgetful) LeaveRooms(context.Context, string, string, []int64) error     { return nil }
func (forgetful) EndRooms(context.Context, string, string, []session.End) error { return nil }
func (forgetful) LeaveSession(context.Context, string, string) error            { return nil }

// offset is what a client has received of a session.
type offset struct {
	position eventlog.Cursor
	n        int64  // while a room's history is read: the number of its join; 0: none is
	backlog  uint64 // and how far the history was received
}

// maxOffset bounds what is looked at.
const maxOffset = 128

// place is the same as it is sent.
func (o offset) place() place { return place{o.position.String(), o.n, o.backlog} }

// parseOffset reads an offset, as the package comment says.
func parseOffset(text string) (o offset, ok bool) {
	parts := strings.Split(text, ".")
	if len(text) > maxOffset || len(parts) != 1 && len(parts) != 3 {
		return offset{}, false
	}
	if o.position, ok = eventlog.ParseCursor(parts[0]); !ok || len(parts) == 1 {
		return o, ok
	}
	var errN, errB error
	o.n, errN = strconv.ParseInt(parts[1], 10, 64)
	o.backlog, errB = strconv.ParseUint(parts[2], 10, 63)
	return o, errN == nil && errB == nil && o.n > 0
}

// revive says how the rooms of a session go on for a client that has received
// what o says: where the whole stands, and each room. The rooms are changed to
// what must be in the store before anything is sent.
//
// A room joined before the position had its history read, because the position
// does not move meanwhile. Of rooms joined at the position itself, the number
// tells: histories are read one after the other.
func (p pid) revive(o offset, rooms []session.Room) (offset, []hub.Resumed) {
	if !sameSession(o.n, p.base()) {
		o.n, o.backlog = 0, 0 // it is from an older session
	}
	if p.start.Seq > o.position.Seq {
		o = offset{position: p.start}
	}
	resumed := make([]hub.Resumed, 0, len(rooms))
	for i := range rooms {
		r := &rooms[i]
		h := hub.Resumed{Job: r.Job, N: r.N, Start: r.Start, Done: r.Start.Seq, DoneID: r.Start.String()}
		switch {
		case r.JoinedAt < o.position.Seq, r.N < o.n:
			h.Live = true
		case r.N == o.n:
			h.Begun = true
			if o.backlog > r.Start.Seq {
				h.Done = o.backlog
			}
		}
		r.JoinedAt = min(r.JoinedAt, o.position.Seq)
		resumed = append(resumed, h)
	}
	return o, resumed
}

// toldOf returns which rooms that are over have given the client their job's end. Of
// the others it left before that had arrived, or it comes with an old offset.
func (o offset) toldOf(over []session.Room) (told []session.Room) {
	for _, r := range over {
		upTo := r.Start.Seq
		switch { // as in revive
		case r.JoinedAt < o.position.Seq, r.N < o.n:
			upTo = max(upTo, o.position.Seq)
		case r.N == o.n:
			upTo = max(upTo, o.backlog)
		default:
			continue
		}
		if r.End <= upTo {
			told = append(told, r)
		}
	}
	return told
}

// oneOfEach leaves one join of each job. There are several where a job's end was on
// its way to the client when it was joined again. A client that has heard of the
// later join has that end; any other gets the one of the two that goes further back,
// and with it all that both of them owe.
func oneOfEach(o offset, rooms []session.Room, resumed []hub.Resumed) ([]session.Room, []hub.Resumed) {
	kept := make(map[string]hub.Resumed, len(rooms)) // by job
	for _, r := range resumed {
		earlier, again := kept[r.Job]
		if !again || r.Live || r.Begun || r.Done <= owedAfter(o, earlier) {
			kept[r.Job] = r
		}
	}
	out := func(job string, n int64) bool { return kept[job].N != n }
	return slices.DeleteFunc(rooms, func(r session.Room) bool { return out(r.Job, r.N) }),
		slices.DeleteFunc(resumed, func(r hub.Resumed) bool { return out(r.Job, r.N) })
}

// owedAfter returns the number of the last event that a room does not owe.
func owedAfter(o offset, r hub.Resumed) uint64 {
	if r.Live {
		return max(o.position.Seq, r.Done)
	}
	return r.Done
}

// sameSession reports whether two numbers of joins belong to one session.
func sameSession(n, m int64) bool { return n>>joinBits == m>>joinBits }

// rebase makes all rooms be read up to a new position, one after the other. It is
// for a log that retention has cut behind the old position: jobs are whole or
// gone, so each can be read by itself. last is the newest number of a join.
func rebase(old, position eventlog.Cursor, last int64, rooms []session.Room, resumed []hub.Resumed) {
	for i := range rooms {
		if resumed[i].Live {
			resumed[i].Live, resumed[i].Begun = false, true
			if old.Seq > resumed[i].Start.Seq {
				resumed[i].Done, resumed[i].DoneID = old.Seq, old.String()
				rooms[i].Start.Epoch = cmp.Or(old.Epoch, rooms[i].Start.Epoch)
			}
		}
		last++ // an offset of before must not speak of these joins
		rooms[i].N, resumed[i].N = last, last
		rooms[i].Start.Seq = resumed[i].Done
		rooms[i].JoinedAt = position.Seq
	}
}

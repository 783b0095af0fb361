package gateway

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/hub"
	"github.com/jobcast/jobcast/transport/socketio/session"
)

func at(seq uint64) eventlog.Cursor { return eventlog.Cursor{Epoch: "e", Seq: seq} }

// TestOneOfEach: of each job the join stays that goes furthest back among those that
// the client may not have received: the newest one that it has heard of, and those
// after it. The order stays too.
func TestOneOfEach(t *testing.T) {
	p := newPID(at(0), time.Unix(0, 0))
	jobIDs := []string{"a", "b"}
	rapid.Check(t, func(t *rapid.T) {
		upTo := func(most int, label string) uint64 { return uint64(rapid.IntRange(0, most).Draw(t, label)) }
		var rooms []session.Room
		r := session.Room{N: p.base()}
		for range 1 + upTo(5, "rooms") {
			r.N += 1 + int64(upTo(1, "gap"))
			r.JoinedAt += upTo(3, "moved")
			r.Start = at(upTo(20, "start"))
			r.Job = rapid.SampledFrom(jobIDs).Draw(t, "job")
			rooms = append(rooms, r)
		}
		o := offset{position: at(upTo(20, "position"))}
		if n := upTo(12, "reading"); n > 0 {
			o.n, o.backlog = p.base()+int64(n), upTo(int(o.position.Seq), "read up to")
		}
		o, resumed := p.revive(o, rooms)
		kept, keptResumed := oneOfEach(o, slices.Clone(rooms), slices.Clone(resumed))
		if !slices.EqualFunc(kept, keptResumed, func(r session.Room, h hub.Resumed) bool { return r.N == h.N && r.Job == h.Job }) {
			t.Fatalf("%v and %v are not the same rooms", kept, keptResumed)
		}
		if !slices.IsSortedFunc(kept, func(x, y session.Room) int { return int(x.N - y.N) }) {
			t.Fatalf("out of order: %v", kept)
		}
		for _, job := range jobIDs {
			same := func(h hub.Resumed) bool { return h.Job == job }
			all := slices.DeleteFunc(slices.Clone(resumed), func(h hub.Resumed) bool { return !same(h) })
			for len(all) > 1 && slices.ContainsFunc(all[1:], func(h hub.Resumed) bool { return h.Live || h.Begun }) {
				all = all[1:] // a later one was heard of
			}
			stays := slices.DeleteFunc(slices.Clone(keptResumed), func(h hub.Resumed) bool { return !same(h) })
			if len(all) == 0 {
				continue
			}
			if len(stays) != 1 || !slices.ContainsFunc(all, func(h hub.Resumed) bool { return h.N == stays[0].N }) {
				t.Fatalf("of %v stays %v", all, stays)
			}
			for _, h := range all {
				if received(o, h) < received(o, stays[0]) {
					t.Fatalf("at %d %+v stays, and %+v goes further back", o.position.Seq, stays[0], h)
				}
			}
		}
	})
}

// received is the number of the newest event that a room will not give.
func received(o offset, h hub.Resumed) uint64 {
	if h.Live {
		return max(h.Start.Seq, o.position.Seq)
	}
	return max(h.Start.Seq, h.Done)
}

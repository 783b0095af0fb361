package storetest

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/transport/socketio/session"
)

// joined is the n-th room of a session: every other one is the client's room.
func joined(n int64) session.Room {
	r := session.Room{N: n, Start: eventlog.Cursor{Epoch: "abc0", Seq: uint64(10 * n)}, JoinedAt: uint64(100 + n)}
	if n%2 == 0 {
		r.Job = fmt.Sprintf("00000000-0000-7000-8000-%012d", n)
	}
	return r
}

// ok ends the test if a command failed.
func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatalf("unexpected error: %v", err)
	}
}

func (w *world) join(client, id string, ns ...int64) {
	w.Helper()
	for _, n := range ns {
		w.ok(w.store.JoinRoom(w.Context(), client, id, joined(n), nil))
	}
}

func (w *world) session(client, id string) session.State {
	w.Helper()
	return must(w.store.Session(w.Context(), client, id))(w)
}

// wantSession checks what a session is, but not when it was touched.
func (w *world) wantSession(what, client, id string, left bool, rooms ...session.Room) {
	w.Helper()
	got := w.session(client, id)
	if diff := difference(rooms, got.Rooms, cmpopts.EquateEmpty()); diff != "" || got.Left != left || got.SeenAt.IsZero() {
		w.Errorf("%s: left %v, seen %v, rooms (-want +got):\n%s", what, got.Left, got.SeenAt, diff)
	}
}

// wantNoSession checks that a session is like one that never was.
func (w *world) wantNoSession(what, client, id string) {
	w.Helper()
	if got := w.session(client, id); got.Rooms != nil || got.Left || !got.SeenAt.IsZero() {
		w.Errorf("%s: %+v, want nothing", what, got)
	}
}

func testSessions(w *world) {
	start := time.Now().Truncate(time.Millisecond)
	w.wantNoSession("before the first join", "a", "s")
	w.join("a", "s", 3, 1, 2)
	w.wantSession("after three joins", "a", "s", false, joined(1), joined(2), joined(3))
	if seen := w.session("a", "s").SeenAt; seen.Before(start) || seen.After(time.Now()) {
		w.Errorf("seen at %v, joined since %v", seen, start)
	}
	beginning := session.Room{N: 4, Job: "any text", JoinedAt: 0} // from the beginning of the log
	w.ok(w.store.JoinRoom(w.Context(), "a", "s", beginning, []int64{1, 3, 99}))
	w.wantSession("after a join that drops two", "a", "s", false, joined(2), beginning)

	other := joined(2)
	other.Job, other.Start, other.JoinedAt = "", eventlog.Cursor{Epoch: "zz9", Seq: 1<<63 - 1}, 1<<63-1
	w.ok(w.store.JoinRoom(w.Context(), "a", "s", other, []int64{2}))
	w.wantSession("after a join with a number that is taken and dropped", "a", "s", false, other, beginning)
	w.ok(w.store.JoinRoom(w.Context(), "a", "s", joined(2), nil))
	w.wantSession("after a join with a number that is taken", "a", "s", false, joined(2), beginning)

	w.join("a", "s", 6, 5)
	w.ok(w.store.LeaveRooms(w.Context(), "a", "s", []int64{4, 6, 7}))
	w.wantSession("after two rooms were left", "a", "s", false, joined(2), joined(5))
	w.reopen()
	w.wantSession("after a restart", "a", "s", false, joined(2), joined(5))

	w.ok(w.store.ReplaceRooms(w.Context(), "a", "s", []session.Room{joined(9), joined(5), joined(8)}))
	w.wantSession("after all were replaced", "a", "s", false, joined(5), joined(8), joined(9))
	w.ok(w.store.LeaveRooms(w.Context(), "a", "s", []int64{5, 8, 9}))
	w.wantSession("after all were left", "a", "s", false)
	w.join("a", "s", 1)
	w.ok(w.store.ReplaceRooms(w.Context(), "a", "s", nil))
	w.wantSession("after all were replaced by none", "a", "s", false)
	w.ok(w.store.ReplaceRooms(w.Context(), "a", "new", []session.Room{joined(1)}))
	w.reopen()
	w.wantSession("a session that began with its rooms", "a", "new", false, joined(1))
	w.wantSession("after another restart", "a", "s", false)
}

// testSessionIDs: an id is opaque, and one that is too long is not cut.
func testSessionIDs(w *world) {
	ids := []string{"s", "S", "s\x00", "s\x00t", "s'; --", "\xff\xfe", strings.Repeat("é", session.MaxID/2)}
	for i, id := range ids {
		w.join("a", id, int64(i+1))
	}
	for i, id := range ids {
		w.wantSession(fmt.Sprintf("%q", id), "a", id, false, joined(int64(i+1)))
	}
	long := strings.Repeat("x", session.MaxID+1)
	for what, err := range map[string]error{
		"join":    w.store.JoinRoom(w.Context(), "a", long, joined(1), nil),
		"replace": w.store.ReplaceRooms(w.Context(), "a", long, nil),
		"leave":   w.store.LeaveSession(w.Context(), "a", long),
	} {
		if err == nil {
			w.Errorf("%s with an id of %d bytes is taken", what, len(long))
		}
	}
	w.wantNoSession("too long an id", "a", long)
	w.wantNoSession("too long an id, cut", "a", long[:session.MaxID])
}

// testSessionOwner: two clients with one id have two sessions.
func testSessionOwner(w *world) {
	w.join("a", "s", 1, 2)
	w.submit("b", queued())
	for _, foreign := range []string{"b", "nobody", "A"} { // known, and unknown to the store
		w.wantNoSession("another client's session", foreign, "s")
		w.ok(w.store.LeaveRooms(w.Context(), foreign, "s", []int64{1, 2}))
		w.wantNoSession("rooms that another left", foreign, "s")
		w.wantSession("after another left its rooms", "a", "s", false, joined(1), joined(2))
	}
	w.join("b", "s", 2, 3)
	w.ok(w.store.JoinRoom(w.Context(), "b", "s", joined(4), []int64{1, 2}))
	w.wantSession("b's own", "b", "s", false, joined(3), joined(4))
	w.wantSession("after b joined rooms", "a", "s", false, joined(1), joined(2))
	w.ok(w.store.ReplaceRooms(w.Context(), "b", "s", []session.Room{joined(5)}))
	w.wantSession("after b replaced its rooms", "a", "s", false, joined(1), joined(2))
	w.ok(w.store.LeaveSession(w.Context(), "b", "s"))
	w.ok(w.store.LeaveSession(w.Context(), "c", "s"))
	w.wantSession("after b and c left theirs", "a", "s", false, joined(1), joined(2))
	w.wantSession("b's own, left", "b", "s", true)
}

// testSessionEnds: rooms that are over are remembered, of each job the newest, and
// no more than a session may have.
func testSessionEnds(w *world) {
	over := func(n int64, end uint64) session.Room {
		r := joined(n)
		r.Job, r.End = fmt.Sprint("job", n), end
		return r
	}
	open := func(n int64) session.Room { return over(n, 0) }
	for n := range int64(4) {
		w.ok(w.store.JoinRoom(w.Context(), "a", "s", open(n+1), nil))
	}
	again := over(9, 0)
	again.Job = "job2"
	w.ok(w.store.JoinRoom(w.Context(), "a", "s", again, nil))
	w.ok(w.store.EndRooms(w.Context(), "a", "s", []session.End{{N: 2, End: 50}, {N: 1, End: 60}, {N: 77, End: 70}}))
	w.wantSession("after two ended", "a", "s", false, over(1, 60), over(2, 50), open(3), open(4), again)
	w.reopen()
	w.ok(w.store.EndRooms(w.Context(), "a", "s", []session.End{{N: 9, End: 55}}))
	again.End = 55
	w.wantSession("after one ended that was joined again", "a", "s", false, over(1, 60), open(3), open(4), again)
	w.ok(w.store.LeaveRooms(w.Context(), "a", "s", []int64{1}))
	w.wantSession("after it was left", "a", "s", false, open(3), open(4), again)
	w.ok(w.store.EndRooms(w.Context(), "b", "s", []session.End{{N: 3, End: 1}}))
	w.ok(w.store.EndRooms(w.Context(), "a", "never", []session.End{{N: 3, End: 1}}))
	w.wantSession("after others' rooms ended", "a", "s", false, open(3), open(4), again)
	w.wantNoSession("of which nothing is known", "a", "never")

	var rooms []session.Room
	var ends []session.End
	for n := range int64(session.MaxEnds + 20) {
		rooms = append(rooms, open(n+100))
		ends = append(ends, session.End{N: n + 100, End: uint64(2000 - n)}) // the last joined ends first
	}
	w.ok(w.store.ReplaceRooms(w.Context(), "a", "s", append(rooms, over(1, 10))))
	w.ok(w.store.EndRooms(w.Context(), "a", "s", ends[:30]))
	w.ok(w.store.EndRooms(w.Context(), "a", "s", ends[30:]))
	var want []session.Room
	for _, e := range ends[:session.MaxEnds] {
		want = append(want, over(e.N, e.End))
	}
	w.wantSession("after many ended", "a", "s", false, want...)
	w.ok(w.store.LeaveSession(w.Context(), "a", "s"))
	w.wantSession("left", "a", "s", true)
}

// testSessionLeft: nothing brings back what was left.
func testSessionLeft(w *world) {
	w.join("a", "s", 1, 2)
	w.ok(w.store.LeaveSession(w.Context(), "a", "s"))
	w.wantSession("left", "a", "s", true)
	w.join("a", "s", 3)
	w.wantSession("a join that came late", "a", "s", true)
	w.ok(w.store.ReplaceRooms(w.Context(), "a", "s", []session.Room{joined(1)}))
	w.ok(w.store.TouchSessions(w.Context(), []string{"s"}))
	w.wantSession("a resume that came late", "a", "s", true)
	w.reopen()
	w.wantSession("left, after a restart", "a", "s", true)
	w.ok(w.store.LeaveSession(w.Context(), "a", "never joined"))
	w.ok(w.store.LeaveSession(w.Context(), "a", "never joined"))
	w.wantSession("left without a room", "a", "never joined", true)
	if n := w.sweepAll(later()); n != 2 {
		w.Errorf("swept %d, want 2", n)
	}
	w.wantNoSession("left and swept", "a", "s")
	w.join("a", "s", 1)
	w.wantSession("a new one with the id of one that was swept", "a", "s", false, joined(1))
}

// sweepAll sweeps until nothing is left and returns how many sessions went.
func (w *world) sweepAll(before time.Time) (total int) {
	w.Helper()
	for more := true; more; {
		var n int
		var err error
		n, more, err = w.store.SweepSessions(w.Context(), before)
		w.ok(err)
		total += n
	}
	return total
}

// after repeats a touch until the session's time is later than at.
func (w *world) after(at time.Time, id string, touch func() error) time.Time {
	w.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		w.ok(touch())
		if seen := w.session("a", id).SeenAt; seen.After(at) {
			return seen
		}
	}
	w.Fatalf("session %s is touched and does not get later than %v", id, at)
	return time.Time{}
}

// testTouches: what uses a session makes it seen, and nothing else does.
func testTouches(w *world) {
	names := []string{"idle", "touched", "joined", "replaced", "left"}
	for _, id := range names {
		w.join("a", id, 1, 2)
	}
	idle := w.session("a", "idle").SeenAt
	for id, touch := range map[string]func() error{
		"touched":  func() error { return w.store.TouchSessions(w.Context(), []string{"unknown", "touched"}) },
		"joined":   func() error { return w.store.JoinRoom(w.Context(), "a", "joined", joined(3), nil) },
		"replaced": func() error { return w.store.ReplaceRooms(w.Context(), "a", "replaced", nil) },
		"left":     func() error { return w.store.LeaveSession(w.Context(), "a", "left") },
	} {
		w.after(w.session("a", id).SeenAt, id, touch)
	}
	w.ok(w.store.TouchSessions(w.Context(), nil))
	if seen := w.session("a", "idle").SeenAt; !seen.Equal(idle) {
		w.Errorf("what was done to others moved the idle session from %v to %v", idle, seen)
	}
	w.wantNoSession("touched only", "a", "unknown")
}

// testSessionSweep: what was touched at the limit or later stays, with the rooms
// that it joined before.
func testSessionSweep(w *world) {
	w.join("a", "idle", 1, 2)
	w.ok(w.store.LeaveSession(w.Context(), "a", "left"))
	w.join("a", "touched", 1, 2)
	older := w.session("a", "touched").SeenAt
	limit := w.after(older, "touched", func() error { return w.store.TouchSessions(w.Context(), []string{"touched"}) })
	w.reopen()
	if n := w.sweepAll(limit.Add(-time.Hour)); n != 0 {
		w.Errorf("swept %d that are younger", n)
	}
	if n := w.sweepAll(limit); n != 2 {
		w.Errorf("swept %d, want the idle one and the one that was left", n)
	}
	w.wantNoSession("swept", "a", "idle")
	w.wantNoSession("left and swept", "a", "left")
	w.wantSession("touched", "a", "touched", false, joined(1), joined(2))
	w.join("b", "touched", 7)
	if n := w.sweepAll(later()); n != 2 {
		w.Errorf("swept %d, want one of a and one of b", n)
	}
	w.join("a", "idle", 9) // no room of before comes back
	w.wantSession("joined anew", "a", "idle", false, joined(9))
}

// testSessionSweepMany: what takes several transactions goes session by
// session, never half of one, and no transaction is large.
func testSessionSweepMany(w *world) {
	const sessions, rooms, perCall = 130, 4, 250
	name := func(i int) string { return fmt.Sprint("s", i) }
	var want []session.Room
	for n := range int64(rooms) {
		want = append(want, joined(n+1))
	}
	var wg sync.WaitGroup
	for i := range sessions {
		wg.Go(func() {
			for _, r := range want {
				if err := w.store.JoinRoom(w.Context(), "a", name(i), r, nil); err != nil {
					w.Errorf("join: %v", err)
				}
			}
		})
	}
	wg.Wait()
	for i := range sessions {
		w.wantSession("one of many that joined at once", "a", name(i), false, want...)
	}
	for left, more := sessions, true; more; {
		var n int
		var err error
		n, more, err = w.store.SweepSessions(w.Context(), later())
		w.ok(err)
		left -= n
		if rows := n * (rooms + 1); rows > perCall || n == 0 || more != (left > 0) {
			w.Fatalf("one call deleted %d sessions, %d rows; %d are left, more is %v", n, rows, left, more)
		}
		have := 0
		for i := range sessions {
			s := w.session("a", name(i))
			if cmp.Equal(s.Rooms, want) {
				have++
			} else if !s.SeenAt.IsZero() || s.Rooms != nil {
				w.Fatalf("half a session is left: %+v", s)
			}
		}
		if have != left {
			w.Fatalf("%d sessions are left, %d would be right", have, left)
		}
	}
}

// testSessionJobs: a room is kept although its job is not.
func testSessionJobs(w *world) {
	j := w.submit("a", queued())
	must(w.store.Cancel(w.Context(), "a", j.ID))(w)
	at, _ := eventlog.ParseCursor(j.Cursor)
	r := session.Room{N: 1, Job: j.ID, Start: at, JoinedAt: 2}
	w.ok(w.store.JoinRoom(w.Context(), "a", "s", r, nil))
	if n := w.pruneAll(later()); n != 1 {
		w.Fatalf("pruned %d jobs", n)
	}
	w.wantSession("after the job was pruned", "a", "s", false, r)
	if n := len(w.publisher.of("a")); n != 2 {
		w.Errorf("%d events, want those of the job", n)
	}
}

package sqlite

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/transport/socketio/session"
)

// TestReplaceRoomsWritesWhatDiffers: a session that comes back with thousands of rooms
// keeps the commits of others waiting for those that have changed.
func TestReplaceRoomsWritesWhatDiffers(t *testing.T) {
	const n = 2000
	s := openServing(t, t.TempDir(), Options{})
	written := func() (rows int64) {
		t.Helper()
		_, err := do(t.Context(), s.committer, 0, func(b *batch) (struct{}, error) {
			_, err := b.row("SELECT total_changes()", nil, &rows)
			return struct{}{}, err
		})
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	var rooms []session.Room
	for i := range int64(n) {
		rooms = append(rooms, session.Room{N: i + 1, Job: fmt.Sprint("job", i), Start: eventlog.Cursor{Epoch: "abc0", Seq: 7}, JoinedAt: 9})
	}
	replace := func(what string, most int64) {
		t.Helper()
		before := written()
		if err := s.ReplaceRooms(t.Context(), "a", "s", rooms); err != nil {
			t.Fatal(err)
		}
		if rows := written() - before; rows > most {
			t.Errorf("%s: %d rows were written, want %d at most", what, rows, most)
		}
		got, err := s.Session(t.Context(), "a", "s")
		if d := cmp.Diff(rooms, got.Rooms); d != "" || err != nil {
			t.Errorf("%s: %v %s", what, err, d)
		}
	}
	replace("all are new", 2*n)
	replace("none is", 2)
	rooms[5].JoinedAt, rooms[6].Start.Seq, rooms[7].End, rooms[8].Job = 3, 6, 12, "other"
	replace("four are otherwise", 2+4*2) // SQLite counts a row that it replaces twice
	rooms = slices.Delete(rooms, 100, 103)
	replace("three are no more", 2+3)
}

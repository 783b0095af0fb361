// Package session has what a resumable Socket.IO session is kept as, and the interface of
// whoever keeps it. It imports no protocol, so that a store may import it.
package session

import (
	"context"
	"time"

	"github.com/jobcast/jobcast/eventlog"
)

// Room is a room that a resumable session has joined. There may be several
// of one job, if it was joined again after it had ended.
type Room struct {
	N        int64           // which join of the session it was; later ones have larger numbers
	Job      string          // empty: the client's room
	Start    eventlog.Cursor // events at or below it are not for this room
	JoinedAt uint64          // the session's position (a seq) when it joined
	End      uint64          // the seq of its job's last event, once the room is over because that was sent; 0: it is not
}

// End says that a room is over.
type End struct {
	N   int64  // of its join
	End uint64 // the seq of its job's last event
}

// MaxEnds is how many rooms that are over a session remembers, as many as a
// connection may join; then it forgets those that ended first.
const MaxEnds = 100

// State is what the store knows of a session.
type State struct {
	Rooms  []Room    // by N
	Left   bool      // it was left on purpose: not to be resumed
	SeenAt time.Time // when it was last touched, in milliseconds; zero: the store knows nothing of it
}

// MaxID bounds the bytes of a session's id, which stands in every row of it.
const MaxID = 64

// Store keeps the rooms of resumable sessions. Each method that changes
// something is one command: it takes effect whole or not at all, and is durable
// (survives a power cut) before it returns nil.
//
// Every method that names a client names the owner: another client's session
// is empty, exactly like one that does not exist. A session's id is opaque and
// has at most MaxID bytes.
//
// All methods are safe for concurrent use. The context only bounds the waiting
// of the caller, as in jobs.Store, and errors mean what they mean there.
type Store interface {
	// JoinRoom adds a room, or replaces the one with the same number, and in the
	// same transaction removes the rooms numbered drop: those that have ended. It
	// touches the session. One that was left stays as it is, and empty.
	JoinRoom(ctx context.Context, client, session string, r Room, drop []int64) error

	// LeaveRooms removes rooms by number. Those that are not there are passed
	// over. The session stays known, even without a room, until it is swept.
	LeaveRooms(ctx context.Context, client, session string, ns []int64) error

	// EndRooms notes that rooms are over. They are remembered among the session's
	// rooms: of each job the newest, and of the session MaxEnds. Those that
	// are not there are passed over.
	EndRooms(ctx context.Context, client, session string, ends []End) error

	// Session reads a session.
	Session(ctx context.Context, client, session string) (State, error)

	// ReplaceRooms sets all rooms of a session at once (none: all are removed)
	// and touches it. One that was left stays as it is, and empty. Rooms that are
	// there already as they are cost next to nothing.
	ReplaceRooms(ctx context.Context, client, session string, rooms []Room) error

	// LeaveSession removes the rooms and remembers, until it is swept, that the
	// session was left.
	LeaveSession(ctx context.Context, client, session string) error

	// TouchSessions notes that sessions are in use. It asks for no owner: they
	// are the live ones of this process. Those that are not known are passed
	// over. Callers with thousands of them do it in parts, because it is one
	// transaction, which the commits of others wait for.
	TouchSessions(ctx context.Context, sessions []string) error

	// SweepSessions deletes what was not touched since before, each session
	// whole and at most some hundred rows a call, which is one transaction. It
	// returns how many sessions went and whether there may be further ones.
	SweepSessions(ctx context.Context, before time.Time) (n int, more bool, err error)
}

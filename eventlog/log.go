package eventlog

import "context"

// Room names what can be watched: one job, or (Job empty) a client's whole log.
type Room struct{ Client, Job string }

// Reader reads the committed log. Each method is one read transaction.
// Implementations are safe for concurrent use.
type Reader interface {
	// Open judges the cursor at (nil: none is asked about; the zero Cursor is before all
	// events) and tells how the room stands. jobs.ErrNotFound if the client has no such
	// job.
	Open(ctx context.Context, r Room, at *Cursor) (Opened, error)

	// Tail returns the place right before the newest n events of a room, n >= 1, or where
	// the room begins if it has no more. Of a client's room that are its newest n numbers,
	// as far as all events with higher ones are kept. jobs.ErrNotFound as for Open.
	Tail(ctx context.Context, r Room, n int) (Cursor, error)

	// Page reads events of a room with seq > after, in order, at most maxEvents and
	// at most maxBytes of JSON, but at least one event if there is any.
	Page(ctx context.Context, r Room, after uint64, maxEvents, maxBytes int) (Page, error)
}

// Publisher is told of every commit after it and before its callers are answered. It
// must not block. Whoever calls it promises order for each client only: the events that it
// brings of one client come in log order. Calls may come at the same time, and if several
// append to one store, each brings its own events, so that those of one client interleave.
// What Publish returns is called right after the callers were answered, so that waking
// readers keeps none of them waiting; nil: nothing is left to be done.
type Publisher interface {
	Publish(events []Event) (answered func())
}

// Reason says why a cursor cannot be continued from.
type Reason string

// The reasons of a reset.
const (
	Valid         Reason = ""
	ReasonPruned  Reason = "pruned"  // client room: events after it were deleted by retention
	ReasonEpoch   Reason = "epoch"   // its incarnation of the log is unknown, or never reached it
	ReasonFuture  Reason = "future"  // beyond the newest event of the log
	ReasonInvalid Reason = "invalid" // does not parse
)

// Opened is how a room stands at one moment.
type Opened struct {
	Reason   Reason // about the cursor that was asked for; Valid if none was
	Head     uint64 // newest seq of the client's log
	HeadID   string // cursor at Head
	Oldest   uint64 // position right before the oldest event of the room that is kept
	OldestID string // cursor at Oldest

	// Job rooms only.
	Job       []byte // the Job object as JSON, without what is too large for a frame
	Status    string // the job's status
	End       uint64 // seq of the job's terminal event, 0 while there is none
	BeforeEnd string // of a job that has ended: the cursor right before the terminal event

	// Job rooms, if a cursor was asked about or the job has ended: the events after the
	// cursor if that is valid, else after Oldest, provided that they are MaxOpenEvents
	// at most: then a reader need not ask for a Page. Whole says that they are.
	Events []Event
	Whole  bool
}

// MaxOpenEvents is how many events of a job Open reads.
const MaxOpenEvents = 8

// Page is one stretch of a room's history.
type Page struct {
	Events []Event
	More   bool   // there are further events after these
	Gone   bool   // job rooms: the job was deleted
	HeadID string // cursor at the newest event of the client's log, at the time of the page; empty if Gone

	Pruned   uint64 // client rooms: highest seq ever deleted; after < Pruned means a hole
	OldestID string // client rooms with such a hole: cursor at Pruned, where the log begins now
}

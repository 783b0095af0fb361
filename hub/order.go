package hub

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/jobcast/jobcast/eventlog"
)

// gapWait is how long events that are not the next ones wait for another publisher to
// bring what is missing. Then that is read from the store.
const gapWait = 50 * time.Millisecond

// gap is what a tail was told of and does not have. It is guarded by tail.mu.
type gap struct {
	told   eventlog.Cursor // the log reaches as far as this
	held   []*Event        // of told's epoch, after the head, in order; some may be missing
	bytes  int             // of their JSON
	unsure bool            // the store must say first whether the tail is a part of the log

	timer   *time.Timer // set unless the store was to be read at once
	reading bool        // a read is queued or under way
	again   bool        // the read under way may lack what was told since it began
	waiting []func()    // other reads, which wait until the tail is not in doubt
}

// Advance says that a client's log reaches as far as seq in this epoch, for whoever
// knows of a commit and does not have its events. If somebody watches the client,
// what is lacking is read from the store, at once and not by the caller. It never blocks.
func (h *Hub) Advance(client, epoch string, seq uint64) {
	t := h.lookup(client)
	if t == nil {
		return
	}
	at := eventlog.Cursor{Epoch: epoch, Seq: seq}
	t.mu.Lock()
	var touched []*room
	switch {
	case t.dead:
	case t.epoch == "":
		t.begin(at, at.String())
		touched = t.touchAll(nil)
	case !t.has(at):
		h.readNow(t, t.tell(at))
	}
	t.mu.Unlock()
	h.enqueue(touched...)
}

// Recheck makes the hub ask the store whether a client's log still contains what the
// hub holds of it. It is for whoever has seen that the log's newest event in the store
// is older than one that was published before that look. It never blocks.
func (h *Hub) Recheck(client string) {
	if t := h.lookup(client); t != nil {
		t.mu.Lock()
		h.recheck(t)
		t.mu.Unlock()
	}
}

func (h *Hub) recheck(t *tail) {
	if t.dead || t.epoch == "" {
		return
	}
	g := t.tell(eventlog.Cursor{Epoch: t.epoch, Seq: t.head()})
	g.unsure = true
	h.readNow(t, g)
}

// agrees reports whether what was read of a log, which ended at the cursor headID then,
// agrees with its tail: before is of the time before the read. If the two come from
// different histories the tail is in doubt, though what was read may be the older.
func (h *Hub) agrees(t *tail, before tailMark, headID string) bool {
	head, _ := eventlog.ParseCursor(headID)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.dead || t.generation.Load() != before.generation:
		return false
	case head.Seq < before.seq: // what was seen before is not there
		h.recheck(t)
		return false
	case head.Epoch == "": // an empty log is the beginning of any
		return true
	case t.epoch == "":
		t.begin(head, headID)
	case head.Epoch != t.epoch:
		h.readNow(t, t.tell(head))
		return false
	}
	t.note(head.Seq, headID)
	return true
}

// outOfOrder takes a published event that is not known to be the next one: the first of
// all, one that the tail has already, or one that leaves a gap.
func (h *Hub) outOfOrder(t *tail, e *eventlog.Event, now time.Time, touched []*room) []*room {
	at := eventlog.Cursor{Epoch: e.Epoch(), Seq: e.Seq}
	switch {
	case t.epoch == "":
		t.begin(eventlog.Cursor{Epoch: at.Epoch, Seq: e.Seq - 1}, "")
		return t.append(newEvent(e, now), touched)
	case t.has(at):
		return touched
	}
	g := t.tell(at)
	if at.Epoch == g.told.Epoch {
		t.hold(g, newEvent(e, now))
	}
	switch {
	case g.unsure:
		h.readNow(t, g)
	case g.timer == nil && !g.reading:
		g.timer = time.AfterFunc(gapWait, func() { h.expired(t, g) })
	}
	return touched
}

// next reports whether an event is known to be the one after the head.
func (t *tail) next(e *eventlog.Event) bool {
	n := len(t.epoch)
	return e.Seq == t.head()+1 && n > 0 && n < len(e.ID) && e.ID[n] == '-' && e.ID[:n] == t.epoch
}

// has reports whether the tail reaches as far as a place in its epoch.
func (t *tail) has(at eventlog.Cursor) bool { return at.Epoch == t.epoch && at.Seq <= t.head() }

// tell notes that the log reaches as far as a cursor, and returns the gap. A cursor of
// another epoch puts the tail in doubt.
func (t *tail) tell(at eventlog.Cursor) *gap {
	g := t.gap
	if g == nil {
		g = &gap{told: at, unsure: at.Epoch != t.epoch}
		t.gap = g
		return g
	}
	g.again = g.reading
	switch at.Epoch {
	case g.told.Epoch:
		g.told.Seq = max(g.told.Seq, at.Seq)
	case t.epoch: // another epoch is being looked into: whatever is read for that finds this too
	default:
		g.told, g.held, g.bytes, g.unsure = at, nil, 0, true
	}
	return g
}

// hold keeps an event that is not the next one. Of what exceeds one page the last ones
// are given up: they are in the store.
func (t *tail) hold(g *gap, e *Event) {
	i, found := slices.BinarySearchFunc(g.held, e.Seq, func(h *Event, seq uint64) int { return cmp.Compare(h.Seq, seq) })
	if found {
		return
	}
	g.held = slices.Insert(g.held, i, e)
	g.bytes += len(e.JSON)
	for last := len(g.held) - 1; last >= 0 && (last >= t.bounds.pageEvents || g.bytes > t.bounds.pageBytes); last-- {
		g.bytes -= len(g.held[last].JSON)
		g.held[last] = nil
		g.held = g.held[:last]
	}
}

// settle appends what was held and is next now, and closes the gap if nothing is
// lacking any more.
func (t *tail) settle(touched []*room) []*room {
	g := t.gap
	for !g.unsure && len(g.held) > 0 && g.held[0].Seq <= t.head()+1 {
		e := g.held[0]
		g.held[0], g.held = nil, g.held[1:]
		g.bytes -= len(e.JSON)
		if e.Seq == t.head()+1 {
			touched = t.append(e, touched)
		}
	}
	if !g.unsure && t.head() >= g.told.Seq {
		t.closeGap()
	}
	return touched
}

func (t *tail) closeGap() {
	if t.gap != nil && t.gap.timer != nil {
		t.gap.timer.Stop()
	}
	t.gap = nil
}

// wait reports whether the tail is in doubt. If so, read is queued once it is not.
func (t *tail) wait(read func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gap == nil || !t.gap.unsure {
		return false
	}
	t.gap.waiting = append(t.gap.waiting, read)
	return true
}

// expired is called when events have been held long enough.
func (h *Hub) expired(t *tail, g *gap) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gap == g {
		h.readNow(t, g)
	}
}

// readNow queues a read of what a gap lacks, unless there is one.
func (h *Hub) readNow(t *tail, g *gap) {
	if !g.reading {
		g.reading = true
		h.queueReads(func() { h.readGap(t, g) })
	}
}

// readGap asks the store for what a tail lacks, or first whether the tail is a part of
// the log.
func (h *Hub) readGap(t *tail, g *gap) {
	t.mu.Lock()
	g.again = false
	needed, unsure, after := t.gap == g, g.unsure, t.head()
	_, seen := t.seen()
	t.mu.Unlock()
	goOn := func() []*room { return nil }
	switch name := (eventlog.Room{Client: t.client}); {
	case needed && unsure:
		at, _ := eventlog.ParseCursor(seen)
		o, err := h.log.Open(context.Background(), name, &at)
		goOn = func() []*room { return h.verified(t, seen, o, err) }
	case needed:
		p, err := h.log.Page(context.Background(), name, after, t.bounds.pageEvents, t.bounds.pageBytes)
		goOn = func() []*room { return t.fill(after, p, err) }
	}

	t.mu.Lock()
	var touched []*room
	if t.gap == g {
		g.reading = false
		touched = goOn()
	}
	if t.gap == g {
		h.readNow(t, g)
	}
	if len(g.waiting) > 0 && (t.gap != g || !g.unsure) {
		h.queueReads(g.waiting...)
		g.waiting = nil
	}
	t.mu.Unlock()
	h.enqueue(touched...)
}

// verified goes on with a tail in doubt, now that what was seen of the log was judged by
// the store.
func (h *Hub) verified(t *tail, seen string, o eventlog.Opened, err error) (touched []*room) {
	g := t.gap
	head, _ := eventlog.ParseCursor(o.HeadID)
	_, now := t.seen()
	switch {
	case err != nil: // each subscription asks by itself, and hears of the error
		h.restart(t, g.told)
		t.closeGap()
		return t.touchAll(nil)
	case o.Reason != eventlog.Valid && o.Reason != eventlog.ReasonPruned:
		h.restart(t, head)
		touched = t.touchAll(nil)
	case head.Epoch != t.epoch && now != seen: // what was seen meanwhile is not judged
		return nil
	}
	switch {
	case g.told.Epoch == head.Epoch && g.again:
		head.Seq = max(head.Seq, g.told.Seq)
	case g.again: // yet another epoch came meanwhile
		return touched
	case g.told.Epoch != head.Epoch:
		g.held, g.bytes = nil, 0
	}
	g.told, g.unsure, t.epoch = head, false, head.Epoch
	return t.settle(touched)
}

// restart throws away what the tail holds: it is not, or may not be, a part of the log,
// which reaches up to head.
func (h *Hub) restart(t *tail, head eventlog.Cursor) {
	t.generation.Store(h.generations.Add(1))
	t.begin(head, head.String())
	t.stored, t.storedID = 0, ""
}

// fill appends what was read after a seq. If it does not reach as far as the gap, because
// that is too large or the log cannot be read on from there, the tail goes on behind
// the gap and every subscription reads the store by itself.
func (t *tail) fill(after uint64, p eventlog.Page, err error) (touched []*room) {
	g := t.gap
	if g.unsure {
		return nil
	}
	if err != nil || p.More || after < p.Pruned {
		t.begin(g.told, g.told.String())
		t.closeGap()
		return t.touchAll(nil)
	}
	if at, _ := eventlog.ParseCursor(p.HeadID); at.Epoch != t.epoch || at.Seq < after {
		g.unsure = true
		return nil
	}
	for i := range p.Events {
		if p.Events[i].Seq == t.head()+1 {
			touched = t.append(newEvent(&p.Events[i], time.Time{}), touched)
		}
	}
	touched = t.settle(touched)
	if t.gap == g && !g.again { // the log does not reach as far as was told
		g.unsure = true
	}
	return touched
}

package sqlite

import (
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
)

// state is what the committer knows by heart. It moves only after a commit.
type state struct {
	clock   clock
	clients map[int64]logHead // clients seen so far
	names   map[string]int64  // their ids
	leases  map[int64]lease   // open leases by job
	jobs    map[string]int64  // rows of the jobs whose lease has a known holder, by id
	served  map[string]int64  // queues claimed from for all clients -> client served last

	expiries map[int64]int64 // client -> when its first job expires, in steady milliseconds, or earlier
	expired  int64           // client whose jobs were looked at last

	tallies tallies // known to readers too

	storage storage
	holds   map[string]reservation // room for artifacts on their way, by id
	held    map[int64]int64        // client -> bytes of its bound that its holds take
}

// logHead is where a client's log stands.
type logHead struct {
	id    int64
	name  string
	seq   uint64 // newest event
	epoch string // of this process; empty until its first append

	open      int64 // jobs that are pending or running
	artifacts int64 // bytes of all artifacts
	disk      int64 // bytes of the blocks that hold them
	changed   bool  // must be written at the end of the batch
}

// lease is an open lease. Its times are on the monotonic clock.
type lease struct {
	deadline  time.Time // moved by each renewal
	renewed   bool      // it was moved, since this process knows the lease
	ttl       time.Duration
	limit     time.Time // when the attempt has run too long; zero: its holder sees to that itself
	holder    *holder   // nil: not known yet
	by        worker    // whose lease it is, if it gave a name to this process
	artifacts bool      // the job may have some; of a lease whose holder is known
}

// holder is who holds a lease, as its row says. It does not change while the lease is open.
type holder struct {
	uuid         string // of the job
	queue        string
	since        int64 // when the job could first be begun, in milliseconds
	client       int64
	token        [sha256.Size]byte // hash of the token
	attempt, max int
}

// end returns when the lease runs out.
func (l lease) end() time.Time {
	if !l.limit.IsZero() && l.limit.Before(l.deadline) {
		return l.limit
	}
	return l.deadline
}

func newState(c clock) *state {
	return &state{
		tallies: tallies{clients: make(map[int64]*clientTallies)},
		clock:   c, clients: make(map[int64]logHead), names: make(map[string]int64),
		leases: make(map[int64]lease), jobs: make(map[string]int64), served: make(map[string]int64), expiries: make(map[int64]int64),
		holds: make(map[string]reservation), held: make(map[int64]int64),
	}
}

const sqlOpenLeases = `SELECT id, lease_ttl_ms, lease_local, started_at, timeout_ms FROM jobs WHERE status = 1`

// reload forgets what can be read when needed and reads the open leases: those
// known keep their times, others get one full TTL. A log that goes on does so
// in a new epoch, because the newest one's first append may not have happened.
func (st *state) reload(db *conn) error {
	now, open := time.Now(), make(map[int64]lease)
	err := db.each(sqlOpenLeases, nil, func(rows *sql.Rows) (bool, error) {
		var id, ms, started, timeout int64
		var local bool
		if err := rows.Scan(&id, &ms, &local, &started, &timeout); err != nil {
			return false, err
		}
		ttl := time.Duration(ms) * time.Millisecond
		l := lease{deadline: now.Add(ttl), ttl: ttl}
		if !local {
			// How long the attempt has run is known by the wall's clock alone. If that
			// was set back meanwhile, it still gets no more than its whole time.
			left := min(started+timeout-st.clock.now().UnixMilli(), timeout)
			l.limit = now.Add(time.Duration(left) * time.Millisecond)
		}
		open[id] = l
		if known, ok := st.leases[id]; ok {
			known.holder = nil // the job may have been leased anew meanwhile
			open[id] = known
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	st.leases = open
	clear(st.jobs)
	clear(st.clients)
	clear(st.names)
	if err := st.readExpiries(db); err != nil {
		return err
	}
	if err := st.tallies.read(db, st.leases); err != nil {
		return err
	}
	return st.storage.count(db)
}

// apply takes over what a committed batch did.
func (st *state) apply(b *batch) {
	st.tallies.apply(b, st.leases)
	for id, head := range b.clients {
		head.changed = false
		st.clients[id] = *head
		st.names[head.name] = id
	}
	for job, l := range b.leases {
		if l == nil {
			if was := st.leases[job]; was.holder != nil {
				delete(st.jobs, was.holder.uuid)
			}
			delete(st.leases, job)
			continue
		}
		st.leases[job] = *l
		if l.holder != nil {
			st.jobs[l.holder.uuid] = job
		}
	}
	maps.Copy(st.served, b.served)
	for client, at := range b.expiries {
		if at == 0 {
			delete(st.expiries, client)
		} else {
			st.expiries[client] = at
		}
	}
	st.expired = b.expired
	st.storage.files += b.files
}

// batch is one transaction: its connection, and what state becomes if it commits.
type batch struct {
	*conn
	alone   bool // one command makes the batch
	st      *state
	limits  jobs.Limits
	clients map[int64]*logHead
	leases  map[int64]*lease // nil: ended
	served  map[string]int64
	counts  map[int]int64     // by status code, difference
	moves   map[place]*tally  // differences
	states  map[int64]*states // by client, differences
	changes []jobs.Change
	events  []eventlog.Event // in log order
	tail    []byte           // scratch

	expiries map[int64]int64 // 0: none of the client's jobs expires
	expired  int64
	files    int64         // bytes on the disk that artifacts and garbage take, difference
	grown    int64         // bytes that commands of this batch add to the folder
	spent    []reservation // holds that became artifacts
}

func newBatch(st *state, db *conn, limits jobs.Limits) *batch {
	return &batch{
		conn: db, st: st, limits: limits,
		clients: make(map[int64]*logHead), leases: make(map[int64]*lease),
		served: make(map[string]int64), counts: make(map[int]int64), moves: make(map[place]*tally), states: make(map[int64]*states),
		expiries: make(map[int64]int64), expired: st.expired,
	}
}

func (b *batch) now() time.Time { return b.st.clock.now() }
func (b *batch) steady() int64  { return b.st.clock.steady() }

const (
	sqlClientByName = `SELECT id, last_seq, open_jobs, artifact_bytes, artifact_disk FROM clients WHERE name = ?`
	sqlClientByID   = `SELECT name, last_seq, open_jobs, artifact_bytes, artifact_disk FROM clients WHERE id = ?`
	sqlAddClient    = `INSERT INTO clients (name) VALUES (?)`
	sqlHead         = `UPDATE clients SET last_seq = ?, open_jobs = ?, artifact_bytes = ?, artifact_disk = ? WHERE id = ?`
	sqlCount        = `UPDATE counts SET n = n + ? WHERE status = ?`
	sqlAddEpoch     = `INSERT INTO epochs (client, from_seq, epoch) VALUES (?, ?, ?)`
	sqlAddEvent     = `INSERT INTO events (client, seq, job, kind, tail) VALUES (?, ?, ?, ?, ?)`
)

// client returns a client's log head, or nil if there is no such client.
func (b *batch) client(name string) (*logHead, error) {
	if id, ok := b.st.names[name]; ok {
		return b.clientByID(id)
	}
	for _, head := range b.clients { // first met in this batch
		if head.name == name {
			return head, nil
		}
	}
	head := &logHead{name: name}
	found, err := b.row(sqlClientByName, []any{name}, &head.id, &head.seq, &head.open, &head.artifacts, &head.disk)
	if err != nil || !found {
		return nil, err
	}
	b.clients[head.id] = head
	return head, nil
}

// ensureClient is client, but inserts one that is new.
func (b *batch) ensureClient(name string) (*logHead, error) {
	head, err := b.client(name)
	if err != nil || head != nil {
		return head, err
	}
	id, err := b.inserted(sqlAddClient, name)
	if err != nil {
		return nil, fmt.Errorf("insert client: %w", err)
	}
	head = &logHead{id: id, name: name}
	b.clients[id] = head
	return head, nil
}

func (b *batch) clientByID(id int64) (*logHead, error) {
	if head := b.clients[id]; head != nil {
		return head, nil
	}
	head, ok := b.st.clients[id]
	if !ok {
		head.id = id
		found, err := b.row(sqlClientByID, []any{id}, &head.name, &head.seq, &head.open, &head.artifacts, &head.disk)
		if err != nil {
			return nil, err
		}
		if !found {
			return nil, fmt.Errorf("client %d is missing", id)
		}
	}
	b.clients[id] = &head
	return &head, nil
}

// append puts events at the end of a log and returns the id of the last one.
func (b *batch) append(head *logHead, job int64, uuid string, at time.Time, bodies ...jobs.Body) (string, error) {
	var id string
	for _, body := range bodies {
		kind, ok := kindCode(body.Type)
		if !ok {
			return "", fmt.Errorf("unknown event type %q", body.Type)
		}
		if head.epoch == "" {
			head.epoch = newEpoch()
			if _, err := b.exec(sqlAddEpoch, head.id, head.seq+1, head.epoch); err != nil {
				return "", fmt.Errorf("insert epoch: %w", err)
			}
		}
		head.seq++
		head.changed = true
		b.tail = jobs.AppendTail(b.tail[:0], body, uuid, at)
		if _, err := b.exec(sqlAddEvent, head.id, head.seq, job, kind, b.tail); err != nil {
			return "", fmt.Errorf("insert event: %w", err)
		}
		id = eventlog.Cursor{Epoch: head.epoch, Seq: head.seq}.String()
		b.events = append(b.events, newEvent(head.name, head.seq, id, body.Type, uuid, b.tail))
	}
	return id, nil
}

func newEvent(client string, seq uint64, id string, t eventlog.Type, uuid string, tail []byte) eventlog.Event {
	return eventlog.Event{
		Client: client, Seq: seq, ID: id, Type: t, JobID: uuid,
		JSON: jobs.AppendJSON(make([]byte, 0, eventBytes(len(id), len(tail))), id, tail),
	}
}

// eventBytes is the length of an event's JSON: {"id":"…" and the tail.
func eventBytes(id, tail int) int { return len(`{"id":""`) + id + tail }

// isNew is, beside the codes of a job's status, that of one which is not there yet.
const isNew = -1

// moved counts a change of status of a client's job, from isNew or to gone. queue may be
// empty if it is a job that had ended. Of a pending one it matters whether that is waiting.
func (b *batch) moved(head *logHead, queue string, from, to int) {
	at := place{head.id, queue}
	b.move(at, from, -1)
	b.move(at, to, 1)
	if from == waiting {
		from = pending
	}
	if to == waiting {
		to = pending
	}
	head.open += isOpen(to) - isOpen(from)
	head.changed = true
	of := b.states[head.id]
	if of == nil {
		of = new(states)
		b.states[head.id] = of
	}
	if from >= 0 {
		b.counts[from]--
		of[from]--
	}
	if to != gone {
		b.counts[to]++
		of[to]++
	}
}

// tell tells of a change of a client's job, after moved.
func (b *batch) tell(head *logHead, what jobs.Changed) {
	b.changes = append(b.changes, jobs.Change{Client: head.name, What: what})
}

// tellTook is tell of a change that has come so long after since, in milliseconds.
func (b *batch) tellTook(head *logHead, what jobs.Changed, since int64, now time.Time) {
	took := time.Duration(max(0, now.UnixMilli()-since)) * time.Millisecond
	b.changes = append(b.changes, jobs.Change{Client: head.name, What: what, Took: took, Timed: true})
}

// move counts jobs into or out of a status of a place, if that is told of.
func (b *batch) move(at place, status int, n int64) {
	if status != pending && status != waiting && status != processing {
		return
	}
	t := b.moves[at]
	if t == nil {
		t = new(tally)
		b.moves[at] = t
	}
	*t.count(status) += n
}

// isOpen is 1 for the states of a job that counts against its client's bound.
func isOpen(status int) int64 {
	if status == pending || status == processing {
		return 1
	}
	return 0
}

// lease returns a job's open lease as this batch sees it.
func (b *batch) lease(job int64) (lease, bool) {
	if l, ok := b.leases[job]; ok {
		if l == nil {
			return lease{}, false
		}
		return *l, true
	}
	l, ok := b.st.leases[job]
	return l, ok
}

// flush writes what is kept once per batch, not once per event.
func (b *batch) flush() error {
	for _, id := range slices.Sorted(maps.Keys(b.clients)) {
		head := b.clients[id]
		if !head.changed {
			continue
		}
		if _, err := b.exec(sqlHead, head.seq, head.open, head.artifacts, head.disk, id); err != nil {
			return fmt.Errorf("write log head: %w", err)
		}
	}
	for status, n := range b.counts {
		if n == 0 {
			continue
		}
		if _, err := b.exec(sqlCount, n, status); err != nil {
			return fmt.Errorf("write counts: %w", err)
		}
	}
	return nil
}

const epochBytes = 8 // 36^8 epochs: two of one log never meet

// newEpoch returns a random name of an incarnation of a log.
func newEpoch() string {
	const alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
	var raw [epochBytes]byte
	_, _ = rand.Read(raw[:]) // never fails: crypto/rand ends the program instead
	for i, v := range raw {
		raw[i] = alphabet[int(v)%len(alphabet)]
	}
	return string(raw[:])
}

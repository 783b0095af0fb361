package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/tidwall/btree"

	"github.com/jobcast/jobcast/jobs"
)

// The index jobs_ready is counted without its rows; of what waits or runs the rows are read.
const (
	sqlCountReady   = `SELECT client, queue, count(*) FROM jobs WHERE ready = 1 GROUP BY queue, client`
	sqlCountPlanned = `SELECT client, queue, count(*) FROM jobs WHERE due IS NOT NULL GROUP BY client, queue`
	sqlCountRetried = `SELECT client, queue, count(*) FROM jobs WHERE retry_due IS NOT NULL GROUP BY client, queue`
	sqlCountStates  = `SELECT client, status, count(*) FROM jobs WHERE status < 5 GROUP BY client, status`
	sqlCountRunning = `SELECT client, queue, count(*) FROM jobs WHERE status = 1 GROUP BY client, queue`

	// It leaps from one priority to the next.
	sqlOldestReady = `SELECT priority, id FROM jobs WHERE ready = 1 AND queue = ? AND client = ? AND priority < ? ORDER BY priority DESC, id LIMIT 1`
	sqlCreated     = `SELECT created_at FROM jobs WHERE id = ?`
)

// maxLeaps bounds the look-ups of the oldest jobs of one page.
const maxLeaps = 5000

// waiting is, beside the codes of a job's status, that of one that is pending and not ready.
const waiting = -2

// place is where jobs are claimed from: a queue of a client. Jobs with actions are in "" and
// in browserQueue.
type place struct {
	client int64
	queue  string
}

// tally is how many jobs of a place have not ended.
type tally struct{ ready, waiting, running int64 }

// count is the member for pending, waiting or processing.
func (t *tally) count(status int) *int64 {
	switch status {
	case pending:
		return &t.ready
	case waiting:
		return &t.waiting
	}
	return &t.running
}

// states is how many jobs of a client there are by the codes of their status.
type states [gone]int64

// worker is one with a name.
type worker struct {
	client int64
	name   string
}

// tallies says how many jobs there are to do, as of the newest commit. It is counted when
// the store begins, and moved by the committer; a reader takes a copy that shares its nodes.
type tallies struct {
	mu      sync.Mutex
	clients map[int64]*clientTallies // guarded by mu, with what they point to; those with a job
}

type clientTallies struct {
	states states
	places btree.Map[string, tally] // those with a job that has not ended
	held   map[string]int64         // workers -> jobs that they run; without zeros
}

// of returns those of a client, made if they are missing. The caller holds mu.
func (t *tallies) of(client int64) *clientTallies {
	c := t.clients[client]
	if c == nil {
		c = &clientTallies{held: make(map[string]int64)}
		t.clients[client] = c
	}
	return c
}

// add takes over what moved. The caller holds mu.
func (t *tallies) add(at place, by tally) {
	c := t.of(at.client)
	now, _ := c.places.Get(at.queue)
	now.ready += by.ready
	now.waiting += by.waiting
	now.running += by.running
	if now == (tally{}) {
		c.places.Delete(at.queue)
	} else {
		c.places.Set(at.queue, now)
	}
	t.tidy(at.client, c)
}

// hold counts jobs that a worker runs. The caller holds mu.
func (t *tallies) hold(by worker, n int64) {
	if by.name == "" {
		return
	}
	c := t.of(by.client)
	if c.held[by.name] += n; c.held[by.name] == 0 {
		delete(c.held, by.name)
	}
	t.tidy(by.client, c)
}

func (t *tallies) tidy(client int64, c *clientTallies) {
	if c.places.Len() == 0 && len(c.held) == 0 && c.states == (states{}) {
		delete(t.clients, client)
	}
}

// moved takes over how many jobs of a client have changed their status. The caller holds mu.
func (t *tallies) moved(client int64, by *states) {
	c := t.of(client)
	for status, n := range by {
		c.states[status] += n
	}
	t.tidy(client, c)
}

// copy returns the tallies of a client as they are.
func (t *tallies) copy(client int64) (places *btree.Map[string, tally], held map[string]int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.clients[client]
	if c == nil {
		return &btree.Map[string, tally]{}, nil
	}
	if len(c.held) > 0 {
		held = maps.Clone(c.held)
	}
	return c.places.Copy(), held
}

// read counts anew. leases are those that are open.
func (t *tallies) read(db *conn, leases map[int64]lease) error {
	fresh := &tallies{clients: make(map[int64]*clientTallies)}
	for _, one := range []struct {
		query  string
		status int
	}{{sqlCountReady, pending}, {sqlCountPlanned, waiting}, {sqlCountRetried, waiting}, {sqlCountRunning, processing}} {
		err := db.each(one.query, nil, func(rows *sql.Rows) (bool, error) {
			var at place
			var n int64
			err := rows.Scan(&at.client, &at.queue, &n)
			var by tally
			*by.count(one.status) = n
			fresh.add(at, by)
			return true, err
		})
		if err != nil {
			return fmt.Errorf("count open jobs: %w", err)
		}
	}
	err := db.each(sqlCountStates, nil, func(rows *sql.Rows) (bool, error) {
		var client, n int64
		var status int
		err := rows.Scan(&client, &status, &n)
		if err == nil {
			fresh.of(client).states[status] = n
		}
		return true, err
	})
	if err != nil {
		return fmt.Errorf("count jobs: %w", err)
	}
	for _, l := range leases {
		fresh.hold(l.by, 1)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clients = fresh.clients
	return nil
}

// apply takes over what a committed batch did. leases are those before it.
func (t *tallies) apply(b *batch, leases map[int64]lease) {
	if len(b.states) == 0 && len(b.leases) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for at, by := range b.moves {
		if *by != (tally{}) {
			t.add(at, *by)
		}
	}
	for client, by := range b.states {
		t.moved(client, by)
	}
	for job, l := range b.leases {
		was := leases[job].by
		now := worker{}
		if l != nil {
			now = l.by
		}
		if was != now {
			t.hold(was, -1)
			t.hold(now, 1)
		}
	}
}

// States implements jobs.Store.
func (s *Store) States(ctx context.Context, client string) (map[jobs.Status]int64, error) {
	if !s.opts.Serving {
		return nil, errNotServing
	}
	return readOnce(ctx, s, func(db *conn) (map[jobs.Status]int64, error) {
		var id, pruned int64
		if _, err := db.row(sqlLog, []any{client}, &id, &pruned); err != nil {
			return nil, err
		}
		now := s.committer.st.tallies.states(id)
		counts := make(map[jobs.Status]int64, len(now))
		for status, n := range now {
			counts[statuses[status]] = n
		}
		return counts, nil
	})
}

// states returns how many jobs of a client there are by status.
func (t *tallies) states(client int64) (now states) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.clients[client]; c != nil {
		now = c.states
	}
	return now
}

// Queues implements jobs.Store.
func (s *Store) Queues(ctx context.Context, client, after string, limit int) (jobs.QueuePage, error) {
	if !s.opts.Serving {
		return jobs.QueuePage{}, errNotServing
	}
	return read(ctx, s, func(db *conn) (page jobs.QueuePage, err error) {
		var id, pruned int64
		found, err := db.row(sqlLog, []any{client}, &id, &pruned)
		if err != nil || !found {
			return page, err
		}
		places, held := s.committer.st.tallies.copy(id)
		page.Held = held
		leaps := 0
		for _, queue := range []string{"", browserQueue} {
			one, _ := places.Get(queue)
			t, n, err := db.tally(place{id, queue}, one)
			if err != nil {
				return page, err
			}
			leaps += n
			page.Actions = together(page.Actions, t)
		}
		places.Ascend(after, func(name string, one tally) bool {
			if name == "" || name == browserQueue || name == after {
				return true
			}
			if len(page.Queues) > 0 && (len(page.Queues) == limit || leaps >= maxLeaps) {
				page.More = true
				return false
			}
			q := jobs.QueueTally{Name: name}
			var n int
			q.Tally, n, err = db.tally(place{id, name}, one)
			leaps += n
			page.Queues = append(page.Queues, q)
			return err == nil
		})
		return page, err
	})
}

// tally completes what the committer knows by when the oldest job was submitted. leaps is how
// many look-ups that took.
func (s *conn) tally(at place, n tally) (t jobs.Tally, leaps int, err error) {
	t = jobs.Tally{Pending: n.ready + n.waiting, Due: n.ready, Running: n.running}
	if n.ready == 0 {
		return t, 0, nil
	}
	oldest, below := int64(maxRowID), int64(jobs.MaxPriority+1)
	for {
		var id int64
		found, err := s.row(sqlOldestReady, []any{at.queue, at.client, below}, &below, &id)
		leaps++
		if err != nil {
			return t, leaps, fmt.Errorf("find the oldest job: %w", err)
		}
		if !found {
			break
		}
		oldest = min(oldest, id)
	}
	var created int64
	found, err := s.row(sqlCreated, []any{oldest}, &created)
	if found {
		t.Oldest = fromMillis(created)
	}
	return t, leaps, err
}

// together adds two tallies up.
func together(x, y jobs.Tally) jobs.Tally {
	return jobs.Tally{Pending: x.Pending + y.Pending, Due: x.Due + y.Due, Running: x.Running + y.Running, Oldest: earlier(x.Oldest, y.Oldest)}
}

// earlier is the first of two times; the zero time is none.
func earlier(x, y time.Time) time.Time {
	if x.IsZero() || !y.IsZero() && y.Before(x) {
		return y
	}
	return x
}

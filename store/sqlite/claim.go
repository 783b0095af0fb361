package sqlite

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jobcast/jobcast/jobs"
)

// The statements of Claim touch a bounded number of index entries however many
// jobs wait: they walk jobs_ready, or leap in it from client to client.
const (
	sqlReady     = `SELECT id, priority FROM jobs WHERE ready = 1 AND queue = ? AND client = ? ORDER BY priority DESC, id LIMIT ?`
	sqlNextReady = `SELECT client, id, priority FROM jobs WHERE ready = 1 AND queue = ? AND client > ? ORDER BY client, priority DESC, id LIMIT 1`
	sqlTake      = `UPDATE jobs SET status = 1, ready = 0, attempt = attempt + 1, lease = ?, lease_ttl_ms = ?,
	lease_local = ?, started_at = ?, next_at = NULL WHERE id = ? AND ready = 1`
	sqlSizes = `SELECT ` + sqlJobBytes + `, coalesce(octet_length(j.error_message), 0), (SELECT count(*) FROM artifacts WHERE job = j.id)
	FROM jobs j CROSS JOIN specs s ON s.job = j.id WHERE j.id = ?`
	sqlSetNext = `UPDATE jobs SET last_next = (SELECT id FROM jobs WHERE uuid = ?) WHERE uuid = ? AND client = ?`
	sqlNext    = `SELECT n.id, n.uuid, n.queue FROM jobs e CROSS JOIN jobs n ON n.id = e.last_next
	WHERE e.uuid = ? AND e.client = ? AND e.last_lease = ? AND n.status = 1 AND n.lease = ?`
)

const leaseBytes = 128 // more than a lease has as JSON

// browserQueue is where jobs with actions stand that need a browser. No client can name it.
const browserQueue = ":browser"

// candidate is a job that can be claimed.
type candidate struct {
	id, priority int64
	browser      bool // it needs one
}

// compare is less than zero if x begins before y: by priority, then age.
func (x candidate) compare(y candidate) int {
	return cmp.Or(cmp.Compare(y.priority, x.priority), cmp.Compare(x.id, y.id))
}

// Claim implements jobs.Store.
func (s *Store) Claim(ctx context.Context, c jobs.Claim) ([]jobs.Leased, error) {
	_, claimed, err := s.Settle(ctx, nil, &c)
	return claimed, err
}

// withDefaults fills in what a claim leaves to the store.
func (s *Store) withDefaults(c jobs.Claim) jobs.Claim {
	if c.TTL <= 0 {
		c.TTL = s.opts.DefaultLeaseTTL
	}
	if c.Queues == nil {
		c.Queues = []string{""}
	}
	return c
}

// claimAfter carries out the claim of a settlement. ended tells that the settlement has
// ended the attempt that the claim follows.
func (b *batch) claimAfter(c jobs.Claim, ended bool) ([]jobs.Leased, error) {
	switch {
	case !c.Follows():
		return b.claim(c)
	case ended:
		return b.claimNext(c)
	}
	return b.claimedNext(c)
}

// claim leases jobs. A claim for all clients goes round among those that have a ready
// job, starting after the one served last for these queues; only the program itself
// claims so, hence the number of such turns is small.
func (b *batch) claim(c jobs.Claim) ([]jobs.Leased, error) {
	if b.st.storage.spent() {
		return nil, nil
	}
	if c.Client == "" {
		return b.claimInTurn(c)
	}
	head, err := b.client(c.Client)
	if err != nil || head == nil {
		return nil, err
	}
	ready, err := b.ready(c.Queues, head.id, c.Max)
	if err != nil {
		return nil, err
	}
	return b.takeAll(ready, c)
}

// claimNext is claim for one that follows the end of c.After. It remembers what it leased.
func (b *batch) claimNext(c jobs.Claim) ([]jobs.Leased, error) {
	c.Max = min(c.Max, 1)
	leased, err := b.claim(c)
	if err != nil || len(leased) == 0 {
		return nil, err
	}
	head, err := b.client(c.After.Client)
	if err != nil {
		return nil, err
	}
	if _, err := b.exec(sqlSetNext, leased[0].Lease.JobID, c.After.JobID, head.id); err != nil {
		return nil, fmt.Errorf("note the job claimed after %s: %w", c.After.JobID, err)
	}
	return leased, nil
}

// claimedNext renews and returns the lease that was claimed when the attempt under c.After
// ended, if it is open.
func (b *batch) claimedNext(c jobs.Claim) ([]jobs.Leased, error) {
	r := running{}
	var err error
	if r.head, err = b.client(c.After.Client); err != nil || r.head == nil {
		return nil, err
	}
	token := jobs.NextToken(c.After.Token)
	var queue string
	found, err := b.row(sqlNext, []any{c.After.JobID, r.head.id, tokenHash(c.After.Token), tokenHash(token)}, &r.id, &r.uuid, &queue)
	if err != nil || !found || !slices.Contains(c.Queues, queue) {
		return nil, err
	}
	lasts, err := b.renew(r)
	if err != nil {
		return nil, err
	}
	j, err := b.jobByID(r.id)
	return []jobs.Leased{{
		Job: j, Lease: jobs.Lease{Client: r.head.name, JobID: r.uuid, Token: token}, Lasts: lasts,
	}}, err
}

// takeAll leases ready jobs, as many as an answer holds.
func (b *batch) takeAll(ready []candidate, c jobs.Claim) (leased []jobs.Leased, err error) {
	size := 0
	for i, r := range ready {
		if i > 0 {
			var members, message, artifacts int
			if _, err := b.row(sqlSizes, []any{r.id}, &members, &message, &artifacts); err != nil {
				return nil, fmt.Errorf("read size of job: %w", err)
			}
			if size+jobs.MostSize(members, message, artifacts)+leaseBytes > jobs.MaxPageBytes {
				break
			}
		}
		l, err := b.take(r.id, c)
		if err != nil {
			return nil, err
		}
		size += l.Job.Size() + leaseBytes
		leased = append(leased, l)
	}
	return leased, nil
}

// claimInTurn takes one job of each client in turn until it has c.Max, and of
// none more than its share.
func (b *batch) claimInTurn(c jobs.Claim) ([]jobs.Leased, error) {
	var leased []jobs.Leased
	turn := strings.Join(c.Queues, " ") // no queue name holds a blank
	all, browsers := places(c.Max, c.Share, c.Held), places(c.Browsers.Max, c.Browsers.Share, c.Browsers.Held)
	for len(leased) < c.Max {
		served, ok := b.served[turn]
		if !ok {
			served = b.st.served[turn]
		}
		head, best, err := b.nextInTurn(c.Queues, all, browsers, served)
		if err != nil || head == nil {
			return leased, err
		}
		l, err := b.take(best.id, c)
		if err != nil {
			return nil, err
		}
		leased = append(leased, l)
		b.served[turn] = head.id
		all.take(head.name)
		if best.browser {
			browsers.take(head.name)
		}
	}
	return leased, nil
}

// places returns what a claim may take, with a map of its own.
func places(limit, share int, held map[string]int) *room {
	r := &room{jobs.Places{Max: limit, Share: share, Held: maps.Clone(held)}}
	if r.Held == nil {
		r.Held = make(map[string]int)
	}
	return r
}

// room is what a claim may still take.
type room struct{ jobs.Places }

func (r *room) has(client string) bool {
	return r.Max > 0 && (r.Share <= 0 || r.Held[client] < r.Share)
}

func (r *room) take(client string) {
	r.Max--
	r.Held[client]++
}

// nextInTurn returns the client with a ready job, and less than its share, that
// comes first after the one served last, and the best of its jobs that there is room for;
// nil if there is none. It passes over as many clients at most as have their share.
func (b *batch) nextInTurn(queues []string, all, browsers *room, served int64) (*logHead, candidate, error) {
	if browsers.Max > 0 {
		queues = append(queues[:len(queues):len(queues)], browserQueue)
	}
	for after, round := served, 1; ; {
		client, found, err := b.nextReady(queues, after)
		switch {
		case err != nil:
			return nil, candidate{}, err
		case client == 0 && round == 1:
			after, round = 0, 2
			continue
		case client == 0 || (round == 2 && client > served):
			return nil, candidate{}, nil
		}
		head, err := b.clientByID(client)
		if err != nil {
			return nil, candidate{}, err
		}
		found = slices.DeleteFunc(found, func(one candidate) bool { return one.browser && !browsers.has(head.name) })
		if len(found) > 0 && all.has(head.name) {
			return head, slices.MinFunc(found, candidate.compare), nil
		}
		after = client
	}
}

// nextReady returns the first client after the given one that has a ready job
// in one of the queues, and the best of those jobs in each; 0 if there is none.
func (b *batch) nextReady(queues []string, after int64) (next int64, best []candidate, err error) {
	for _, q := range queues {
		var client int64
		one := candidate{browser: q == browserQueue}
		found, err := b.row(sqlNextReady, []any{q, after}, &client, &one.id, &one.priority)
		switch {
		case err != nil:
			return 0, nil, fmt.Errorf("find the next client: %w", err)
		case !found || next != 0 && client > next:
		case client == next:
			best = append(best, one)
		default:
			next, best = client, []candidate{one}
		}
	}
	return next, best, nil
}

// ready returns the client's n best jobs of the queues: by priority, then age.
func (b *batch) ready(queues []string, client int64, n int) ([]candidate, error) {
	var all []candidate
	for _, q := range queues {
		err := b.each(sqlReady, []any{q, client, n}, func(rows *sql.Rows) (bool, error) {
			var c candidate
			err := rows.Scan(&c.id, &c.priority)
			all = append(all, c)
			return true, err
		})
		if err != nil {
			return nil, fmt.Errorf("find ready jobs: %w", err)
		}
	}
	slices.SortFunc(all, candidate.compare)
	all = slices.CompactFunc(all, func(x, y candidate) bool { return x.id == y.id }) // a queue named twice
	return all[:min(n, len(all))], nil
}

// take leases one ready job and appends its job.started, and with c.Announce what comes
// before its first action.
func (b *batch) take(id int64, c jobs.Claim) (jobs.Leased, error) {
	r, err := b.readyJob(id)
	if err == nil && r == nil {
		err = fmt.Errorf("job %d was ready and is not", id)
	}
	if err != nil {
		return jobs.Leased{}, err
	}
	now, at := time.Now(), b.now()
	token := newToken(c)
	hash := tokenHash(token)
	if _, err := b.exec(sqlTake, hash, c.TTL.Milliseconds(), c.Node != "", at.UnixMilli(), id); err != nil {
		return jobs.Leased{}, fmt.Errorf("lease job: %w", err)
	}
	head, err := b.clientByID(r.client)
	if err != nil {
		return jobs.Leased{}, err
	}
	b.moved(head, r.queue, pending, processing)
	since := r.CreatedAt.UnixMilli()
	if r.RunAt != nil {
		since = max(since, r.RunAt.UnixMilli())
	}
	if r.StartedAt == nil {
		b.tellTook(head, jobs.WasStarted, since, at)
	} else {
		b.tell(head, jobs.WasStarted)
	}
	l := lease{deadline: now.Add(c.TTL), ttl: c.TTL, by: worker{head.id, c.Worker}}
	if c.Node == "" {
		l.limit = now.Add(time.Duration(r.TimeoutMs) * time.Millisecond)
	}
	started := jobs.At(at)
	r.Status, r.StartedAt, r.NextAttemptAt = jobs.Processing, &started, nil
	r.Attempt++
	l.holder = &holder{uuid: r.ID, queue: r.queue, since: since, client: r.client, token: [sha256.Size]byte(hash), attempt: r.Attempt, max: r.MaxAttempts}
	l.artifacts = r.artifacts
	b.leases[id] = &l
	err = b.begin(head, r, at, c.Announce)
	return jobs.Leased{
		Job:   r.Job,
		Lease: jobs.Lease{Client: head.name, JobID: r.ID, Token: token},
		Lasts: l.end().Sub(now),
	}, err
}

// begin appends the events with which an attempt begins, and shows them in the job.
func (b *batch) begin(head *logHead, r *jobRow, at time.Time, announce bool) (err error) {
	bodies := []jobs.Body{jobs.Started(at, r.Attempt)}
	if announce && r.Actions != nil {
		first := jobs.ExecutingFirst(r.Actions)
		if b.grow(bytesOf([]jobs.Body{first})) == nil { // else it is left out
			bodies = append(bodies, first)
			err = r.show(first.Data)
		}
	}
	if err == nil {
		r.Cursor, err = b.append(head, r.id, r.ID, at, bodies...)
	}
	return err
}

// newToken returns the token of a lease that a claim gives.
func newToken(c jobs.Claim) string {
	if c.Follows() {
		return jobs.NextToken(c.After.Token)
	}
	var raw [jobs.TokenBytes]byte
	_, _ = rand.Read(raw[:]) // never fails: crypto/rand ends the program instead
	return base64.RawURLEncoding.EncodeToString(raw[:])
}

// tokenHash is what is stored: a copy of the database gives nobody a lease.
func tokenHash(token string) []byte {
	h := sha256.Sum256([]byte(token))
	return h[:]
}

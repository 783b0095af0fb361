package storetest

import (
	"encoding/json"
	"fmt"
	"time"

	"pgregory.net/rapid"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport/socketio/session"
)

// What is given to the stores: the commands of one concern, so that they meet each other
// often.

func (m *model) jobCommands(*rapid.T) map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"submit": m.submit, "submit again": m.submit, "submit batch": m.submitBatch, "retry": m.retry, "cancel": m.cancel,
		"claim": m.claim, "claim again": m.claim, "claim in turn": m.claimInTurn,
		"append": m.append, "complete": m.complete, "fail": m.fail, "release": m.release,
		"settle": m.settle, "end and claim": m.endAndClaim, "end and claim again": m.endAndClaim,
		"expire leases": m.expireLeases, "promote": m.promote, "expire jobs": m.expireJobs, "wait": m.wait, "": m.lookAtJobs,
	}
}

// artifactCommands begin with a job that is running.
func (m *model) artifactCommands(t *rapid.T) map[string]func(*rapid.T) {
	client, id := m.clients[0], newID()
	time.Sleep(modelStep)
	m.made(same(m, t, func(s *side) (madeJob, error) {
		j, _, err := s.Submit(m.ctx, client, id, queued(), jobs.Idempotency{})
		return madeJob{Job: j}, err
	}))
	time.Sleep(modelStep)
	m.take(t, jobs.Claim{Client: client, Queues: []string{"q"}, TTL: modelLong})
	return map[string]func(*rapid.T){
		"submit": m.submit, "submit batch": m.submitBatch, "claim": m.claim, "add": m.addArtifact, "add another": m.addArtifact, "hold": m.hold, "drop hold": m.dropHold,
		"complete": m.complete, "settle": m.settle, "prune": m.prune, "garbage": m.garbage, "wait": m.wait, "": m.lookAtJobs,
	}
}

func (m *model) sessionCommands(*rapid.T) map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"join": m.join, "leave rooms": m.leaveRooms, "end rooms": m.endRooms, "replace rooms": m.replaceRooms,
		"leave": m.leaveSession, "touch": m.touchSessions, "sweep": m.sweepSessions, "": m.lookAtSession,
	}
}

func (m *model) keyCommands(*rapid.T) map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){"create": m.createKey, "revoke": m.revokeKey, "touch": m.touchKey, "": m.lookAtKeys}
}

func (m *model) client(t *rapid.T) string { return rapid.SampledFrom(m.clients).Draw(t, "client") }

// name is one that nothing else has.
func (m *model) name(kind string) string {
	m.n++
	return fmt.Sprint(kind, m.run, "-", m.n)
}

func (m *model) job(t *rapid.T) jobs.Job {
	if len(m.jobs) == 0 {
		t.Skip("no job yet")
	}
	return m.jobs[rapid.IntRange(0, len(m.jobs)-1).Draw(t, "job")]
}

// lease picks a lease that there ever was, by its place among all.
func (m *model) lease(t *rapid.T) int {
	if len(m.tested.leases) == 0 {
		t.Skip("no lease yet")
	}
	return len(m.tested.leases) - 1 - rapid.IntRange(0, len(m.tested.leases)-1).Draw(t, "lease") // the newest are the simplest
}

func drawIdempotency(t *rapid.T) jobs.Idempotency {
	key := rapid.SampledFrom([]string{"", "", "", "k1", "k2"}).Draw(t, "key")
	return jobs.Idempotency{Key: key, Hash: [32]byte{rapid.ByteRange(1, 2).Draw(t, "hash")}}
}

// madeJob is what Submit and Retry answer.
type madeJob struct {
	Job      jobs.Job
	Replayed bool
}

func (m *model) made(a answer[madeJob]) {
	if a.Refusal == "" && !a.Value.Replayed {
		m.jobs = append(m.jobs, a.Value.Job)
	}
}

func (m *model) submit(t *rapid.T) {
	client, id, idem, spec := m.client(t), newID(), drawIdempotency(t), m.drawSpec(t)
	m.made(same(m, t, func(s *side) (madeJob, error) {
		j, replayed, err := s.Submit(m.ctx, client, id, spec, idem)
		return madeJob{j, replayed}, err
	}))
}

func (m *model) drawSpec(t *rapid.T) jobs.Spec {
	spec := jobs.Spec{
		Queue: rapid.SampledFrom([]string{"q", "q", "p", ""}).Draw(t, "queue"), Priority: rapid.IntRange(-1, 1).Draw(t, "priority"),
		MaxAttempts: rapid.IntRange(1, 3).Draw(t, "attempts"), Timeout: modelLong,
		ExpiresIn: rapid.SampledFrom([]time.Duration{0, 2*modelStep + offStep, modelLong}).Draw(t, "expires in"),
	}
	if spec.Queue != "" {
		spec.Payload = json.RawMessage(`{"n":1}`)
	} else {
		spec.Actions = json.RawMessage(`[{"type":"wait","ms":1}]`)
	}
	if spec.MaxAttempts == 1 && rapid.Bool().Draw(t, "short") { // the back-off after a time-out would be the store's own
		spec.Timeout = 3*modelStep + offStep
	}
	if steps := rapid.IntRange(-2, 4).Draw(t, "run at"); steps != 0 {
		spec.RunAt = m.wall().Add(time.Duration(steps)*modelStep + offStep)
	}
	return spec
}

func (m *model) submitBatch(t *rapid.T) {
	client, idem := m.client(t), drawIdempotency(t)
	specs := rapid.SliceOfN(rapid.Custom(m.drawSpec), 1, 3).Draw(t, "batch")
	ids := newIDs(len(specs))
	made := same(m, t, func(s *side) (jobs.Batch, error) { return s.SubmitBatch(m.ctx, client, ids, specs, idem) })
	if made.Refusal != "" || made.Value.Replayed {
		return
	}
	for _, id := range ids {
		m.jobs = append(m.jobs, same(m, t, func(s *side) (jobs.Job, error) { return s.Get(m.ctx, client, id) }).Value)
	}
}

func (m *model) retry(t *rapid.T) {
	j, id, idem := m.job(t), newID(), drawIdempotency(t)
	m.made(same(m, t, func(s *side) (madeJob, error) {
		j, replayed, err := s.Retry(m.ctx, j.ClientID, j.ID, id, idem)
		return madeJob{j, replayed}, err
	}))
}

func (m *model) cancel(t *rapid.T) {
	j := m.job(t)
	same(m, t, func(s *side) (jobs.Job, error) { return s.Cancel(m.ctx, j.ClientID, j.ID) })
}

func (m *model) claim(t *rapid.T) {
	queues := rapid.SampledFrom([][]string{{"q"}, {"q", "p"}, {"p"}}).Draw(t, "queues")
	m.take(t, jobs.Claim{Client: m.client(t), Queues: queues, TTL: drawTTL(t)})
}

func drawTTL(t *rapid.T) time.Duration {
	return rapid.SampledFrom([]time.Duration{modelLong, 4*modelStep + offStep}).Draw(t, "TTL")
}

func (m *model) claimInTurn(t *rapid.T) {
	c := jobs.Claim{Queues: rapid.SampledFrom([][]string{nil, nil, {"q", "p"}}).Draw(t, "queues"), Node: "n1", TTL: drawTTL(t), Announce: rapid.Bool().Draw(t, "announce")}
	if c.Share = rapid.IntRange(0, 2).Draw(t, "share"); c.Share > 0 {
		c.Held = map[string]int{m.clients[0]: rapid.IntRange(0, 2).Draw(t, "held")}
	}
	m.take(t, c)
}

func (m *model) take(t *rapid.T, c jobs.Claim) {
	c.Max = rapid.IntRange(1, 3).Draw(t, "max")
	c.Worker = rapid.SampledFrom([]string{"", "w1", "w2"}).Draw(t, "worker")
	same(m, t, func(s *side) ([]jobs.Leased, error) {
		got, err := s.Claim(m.ctx, c)
		for _, l := range got {
			s.leases = append(s.leases, l.Lease)
		}
		return got, err
	})
}

func (m *model) append(t *rapid.T) {
	l, bodies := m.lease(t), drawEvents(t)
	same(m, t, func(s *side) (jobs.Receipt, error) { return s.Append(m.ctx, s.leases[l], bodies) })
}

func drawEvents(t *rapid.T) []jobs.Body {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) jobs.Body {
		if rapid.Bool().Draw(t, "log") {
			return jobs.Logged("info", "a line")
		}
		return jobs.Progressed(rapid.Float64Range(0, 100).Draw(t, "progress"), rapid.SampledFrom([]string{"", "m"}).Draw(t, "message"), "")
	}), 0, 4).Draw(t, "events")
}

func (m *model) complete(t *rapid.T) {
	l, result := m.lease(t), drawResult(t)
	same(m, t, func(s *side) (jobs.Job, error) { return s.Complete(m.ctx, s.leases[l], result) })
}

func drawResult(t *rapid.T) json.RawMessage {
	return rapid.SampledFrom([]json.RawMessage{nil, json.RawMessage(`{"ok":true}`)}).Draw(t, "result")
}

func (m *model) fail(t *rapid.T) {
	l, f := m.lease(t), drawFailure(t)
	same(m, t, func(s *side) (jobs.Job, error) { return s.Fail(m.ctx, s.leases[l], f) })
}

func drawFailure(t *rapid.T) jobs.Failure {
	f := jobs.Failure{Class: "X", Message: rapid.SampledFrom([]string{"", "m"}).Draw(t, "message"), Retry: rapid.Bool().Draw(t, "retry")}
	f.Backoff.Least = rapid.SampledFrom([]time.Duration{0, 2*modelStep + offStep, modelLong}).Draw(t, "back-off")
	return f
}

func (m *model) release(t *rapid.T) {
	l := m.lease(t)
	done(m, t, func(s *side) error { return s.Release(m.ctx, s.leases[l]) })
}

// modelStepOf is a step of a lease by its place among all.
type modelStepOf struct {
	lease int
	jobs.Step
}

func (m *model) step(t *rapid.T, outcomes ...jobs.Outcome) modelStepOf {
	s := modelStepOf{lease: m.lease(t), Step: jobs.Step{Events: drawEvents(t), Outcome: rapid.SampledFrom(outcomes).Draw(t, "outcome")}}
	s.Result, s.Failure = drawResult(t), drawFailure(t)
	return s
}

// settlement is what Settle answers.
type settlement struct {
	Answers []answer[jobs.Settled]
	Claimed []jobs.Leased
}

// settle gives steps of any attempts and a claim of any kind.
func (m *model) settle(t *rapid.T) {
	steps := make([]modelStepOf, rapid.IntRange(0, 3).Draw(t, "steps"))
	for i := range steps {
		steps[i] = m.step(t, jobs.AttemptGoesOn, jobs.AttemptCompleted, jobs.AttemptFailed, jobs.AttemptReleased, jobs.AttemptUnclaimed)
	}
	claim := rapid.SampledFrom([]*jobs.Claim{
		nil, {Client: m.clients[0], Queues: []string{"q"}, TTL: modelLong, Max: 2}, {Node: "n1", TTL: modelLong, Max: 2},
	}).Draw(t, "claim")
	m.settled(t, steps, claim, -1)
}

// endAndClaim ends one attempt, maybe once more, and claims the next job.
func (m *model) endAndClaim(t *rapid.T) {
	end := m.step(t, jobs.AttemptCompleted, jobs.AttemptFailed)
	l := m.tested.leases[end.lease]
	m.settled(t, []modelStepOf{end}, &jobs.Claim{
		Client: l.Client, Queues: rapid.SampledFrom([][]string{{"q"}, {"q", "p"}}).Draw(t, "queues"), TTL: drawTTL(t),
		Max: rapid.SampledFrom([]int{1, 1, 1, 0}).Draw(t, "max"),
	}, end.lease)
}

// settled gives steps and a claim to both stores; after is the place of the lease that the
// claim follows, negative for none.
func (m *model) settled(t *rapid.T, steps []modelStepOf, claim *jobs.Claim, after int) {
	same(m, t, func(s *side) (settlement, error) {
		given := make([]jobs.Step, len(steps))
		for i, step := range steps {
			given[i] = step.Step
			given[i].Lease = s.leases[step.lease]
		}
		next := claim
		if after >= 0 {
			c := *claim
			c.After, next = s.leases[after], &c
		}
		answers, claimed, err := s.Settle(m.ctx, given, next)
		var out settlement
		for _, a := range answers {
			no := refusal(t, a.Err)
			a.Err = nil
			out.Answers = append(out.Answers, answer[jobs.Settled]{a, no})
		}
		for _, l := range claimed {
			s.leases = append(s.leases, l.Lease)
		}
		out.Claimed = claimed
		return out, err
	})
}

func drawArtifact(t *rapid.T) string {
	return rapid.SampledFrom([]string{"f", "g", "h"}).Draw(t, "name")
}

func (m *model) addArtifact(t *rapid.T) {
	l := m.lease(t)
	a := stored(m.tested.leases[l].JobID, drawArtifact(t), m.name("file"))
	a.Size, a.Hold = rapid.Int64Range(0, 600).Draw(t, "size"), rapid.SampledFrom(append([]string{""}, holdIDs...)).Draw(t, "hold")
	only := rapid.SampledFrom([]*jobs.Replaced{nil, nil, nil, {}, {File: "another"}}).Draw(t, "only")
	same(m, t, func(s *side) (jobs.Receipt, error) { return s.AddArtifact(m.ctx, s.leases[l], a, only) })
}

var holdIDs = []string{"h1", "h2"}

// held is what HoldArtifact answers.
type held struct {
	Bytes   int64
	Receipt jobs.Receipt
}

func (m *model) hold(t *rapid.T) {
	l := m.lease(t)
	h := jobs.Hold{ID: rapid.SampledFrom(holdIDs).Draw(t, "hold"), Name: drawArtifact(t), Least: rapid.Int64Range(0, 600).Draw(t, "least")}
	h.Most = h.Least + rapid.Int64Range(0, 600).Draw(t, "more")
	same(m, t, func(s *side) (held, error) {
		bytes, r, err := s.HoldArtifact(m.ctx, s.leases[l], h)
		return held{bytes, r}, err
	})
}

func (m *model) dropHold(t *rapid.T) {
	id := rapid.SampledFrom(holdIDs).Draw(t, "hold")
	done(m, t, func(s *side) error { return s.DropHold(m.ctx, id) })
}

func (m *model) garbage(t *rapid.T) {
	limit := rapid.IntRange(1, 3).Draw(t, "limit")
	files := same(m, t, func(s *side) ([]string, error) { return s.Garbage(m.ctx, "", limit) }).Value
	same(m, t, func(s *side) ([]string, error) { return s.KnownFiles(m.ctx, append([]string{"none"}, files...)) })
	done(m, t, func(s *side) error { return s.ForgetGarbage(m.ctx, files) })
}

func (m *model) expireLeases(t *rapid.T) {
	limit := rapid.IntRange(1, 4).Draw(t, "limit")
	m.sweep(t, func(s *side) (jobs.Swept, error) { return s.ExpireLeases(m.ctx, limit) })
}

func (m *model) promote(t *rapid.T) {
	limit := rapid.IntRange(1, 4).Draw(t, "limit")
	m.sweep(t, func(s *side) (jobs.Swept, error) { return s.PromoteDue(m.ctx, limit) })
}

// expireJobs takes all: which clients a part of them is of is up to the store.
func (m *model) expireJobs(t *rapid.T) {
	m.sweep(t, func(s *side) (jobs.Swept, error) { return s.ExpireJobs(m.ctx, 1000) })
}

func (m *model) prune(t *rapid.T) {
	if rapid.IntRange(0, 3).Draw(t, "rarely") > 0 {
		t.Skip("little would be left")
	}
	before := m.wall().Add(time.Duration(rapid.IntRange(-8, 2).Draw(t, "before")) * modelStep)
	same(m, t, func(s *side) (int, error) {
		out, err := s.Prune(m.ctx, before, 0)
		return out.N, err
	})
}

// own names a session of a client.
type own struct{ client, id string }

// session picks one of three sessions, of which two have one id.
func (m *model) session(t *rapid.T) own {
	shared := fmt.Sprint("s", m.run)
	return rapid.SampledFrom([]own{{m.clients[0], shared}, {m.clients[1], shared}, {m.clients[0], fmt.Sprint("o", m.run)}}).Draw(t, "session")
}

func drawRoom(t *rapid.T) session.Room {
	r := joined(rapid.Int64Range(1, 4).Draw(t, "n"))
	r.JoinedAt = rapid.Uint64Range(0, 99).Draw(t, "joined at")
	return r
}

func drawNumbers(t *rapid.T) []int64 {
	return rapid.SliceOfN(rapid.Int64Range(1, 4), 0, 3).Draw(t, "numbers")
}

func (m *model) join(t *rapid.T) {
	k, r, drop := m.session(t), drawRoom(t), drawNumbers(t)
	done(m, t, func(s *side) error { return s.JoinRoom(m.ctx, k.client, k.id, r, drop) })
}

func (m *model) leaveRooms(t *rapid.T) {
	k, ns := m.session(t), drawNumbers(t)
	done(m, t, func(s *side) error { return s.LeaveRooms(m.ctx, k.client, k.id, ns) })
}

func (m *model) endRooms(t *rapid.T) {
	k := m.session(t)
	ends := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) session.End {
		return session.End{N: rapid.Int64Range(1, 4).Draw(t, "n"), End: rapid.Uint64Range(1, 99).Draw(t, "end")}
	}), 0, 3).Draw(t, "ends")
	done(m, t, func(s *side) error { return s.EndRooms(m.ctx, k.client, k.id, ends) })
}

func (m *model) replaceRooms(t *rapid.T) {
	k, rooms := m.session(t), rapid.SliceOfN(rapid.Custom(drawRoom), 0, 3).Draw(t, "rooms")
	done(m, t, func(s *side) error { return s.ReplaceRooms(m.ctx, k.client, k.id, rooms) })
}

func (m *model) leaveSession(t *rapid.T) {
	if rapid.IntRange(0, 3).Draw(t, "rarely") > 0 {
		t.Skip("nothing happens to a session afterwards")
	}
	k := m.session(t)
	done(m, t, func(s *side) error { return s.LeaveSession(m.ctx, k.client, k.id) })
}

func (m *model) touchSessions(t *rapid.T) {
	ids := []string{m.session(t).id, "unknown"}
	done(m, t, func(s *side) error { return s.TouchSessions(m.ctx, ids) })
}

func (m *model) sweepSessions(t *rapid.T) {
	before := m.wall().Add(-time.Duration(rapid.IntRange(1, 20).Draw(t, "before")) * modelStep)
	same(m, t, func(s *side) (int, error) {
		n, _, err := s.SweepSessions(m.ctx, before)
		return n, err
	})
}

// key picks the id of a key, which may not be there.
func (m *model) key(t *rapid.T) string {
	return fmt.Sprint("k", m.run, "-", rapid.IntRange(1, 4).Draw(t, "key"))
}

func (m *model) createKey(t *rapid.T) {
	n := rapid.ByteRange(1, 4).Draw(t, "key")
	k := auth.Stored{
		Key: auth.Key{
			ID: fmt.Sprint("k", m.run, "-", n), ClientID: m.clients[n%2], CreatedAt: m.wall(),
			Scopes: rapid.SampledFrom([][]auth.Scope{nil, auth.DefaultScopes(), {auth.Admin}}).Draw(t, "scopes"),
		},
		Hash: [32]byte{byte(m.run >> 8), byte(m.run), n},
	}
	if rapid.Bool().Draw(t, "ends") {
		end, most := m.wall().Add(modelLong), 7
		k.ExpiresAt, k.MaxConnections = &end, &most
	}
	done(m, t, func(s *side) error { return s.CreateKey(m.ctx, k) })
	same(m, t, func(s *side) (auth.Stored, error) { return s.KeyByHash(m.ctx, k.Hash) })
}

func (m *model) revokeKey(t *rapid.T) {
	client, id, at := rapid.SampledFrom(append([]string{""}, m.clients...)).Draw(t, "client"), m.key(t), m.wall()
	done(m, t, func(s *side) error { return s.RevokeKey(m.ctx, client, id, at) })
}

func (m *model) touchKey(t *rapid.T) {
	used := map[string]time.Time{m.key(t): m.wall().Add(time.Duration(rapid.IntRange(-3, 3).Draw(t, "used")) * modelStep)}
	done(m, t, func(s *side) error { return s.TouchKeys(m.ctx, used) })
}

// lookAtKeys compares the keys of a client.
func (m *model) lookAtKeys(t *rapid.T) {
	client, after, limit := m.client(t), m.key(t), rapid.IntRange(1, 3).Draw(t, "limit")
	same(m, t, func(s *side) ([]auth.Key, error) { return s.Keys(m.ctx, client) })
	same(m, t, func(s *side) ([]auth.Key, error) { return s.KeyPage(m.ctx, client, after, limit) })
	same(m, t, func(s *side) (auth.Key, error) { return s.Key(m.ctx, client, after) })
}

// room picks a client's room or a job's.
func (m *model) room(t *rapid.T) eventlog.Room {
	r := eventlog.Room{Client: m.client(t)}
	if len(m.jobs) > 0 && rapid.IntRange(0, 2).Draw(t, "job's") > 0 {
		r.Job = m.job(t).ID // maybe another client's
	}
	return r
}

func (m *model) open(t *rapid.T) {
	r, seq := m.room(t), rapid.Uint64Range(0, 40).Draw(t, "seq")
	how := rapid.SampledFrom([]string{"none", "own", "foreign", "beginning"}).Draw(t, "cursor")
	same(m, t, func(s *side) (eventlog.Opened, error) {
		at := s.cursor(r.Client, seq)
		switch how {
		case "none":
			return s.Open(m.ctx, r, nil)
		case "foreign":
			at = eventlog.Cursor{Epoch: "zzzz", Seq: seq}
		case "beginning":
			at = eventlog.Cursor{}
		}
		return s.Open(m.ctx, r, &at)
	})
}

func (m *model) page(t *rapid.T) {
	r, after := m.room(t), rapid.Uint64Range(0, 40).Draw(t, "after")
	events, bytes := rapid.IntRange(1, 9).Draw(t, "events"), rapid.SampledFrom([]int{1, 700, 1 << 20}).Draw(t, "bytes")
	same(m, t, func(s *side) (eventlog.Page, error) { return s.Page(m.ctx, r, after, events, bytes) })
}

func (m *model) tail(t *rapid.T) {
	r, n := m.room(t), rapid.IntRange(1, 9).Draw(t, "events")
	same(m, t, func(s *side) (eventlog.Opened, error) {
		at, err := s.Tail(m.ctx, r, n)
		if err != nil {
			return eventlog.Opened{}, err
		}
		return s.Open(m.ctx, r, &at)
	})
	same(m, t, func(s *side) (uint64, error) {
		at, err := s.Tail(m.ctx, r, n)
		return at.Seq, err
	})
}

func (m *model) wait(t *rapid.T) {
	time.Sleep(time.Duration(rapid.IntRange(1, 8).Draw(t, "steps")) * modelStep)
}

func (m *model) list(t *rapid.T) {
	client := m.client(t)
	q := jobs.ListQuery{
		Status: rapid.SampledFrom([]jobs.Status{"", jobs.Pending, jobs.Processing, jobs.Failed}).Draw(t, "status"),
		Limit:  rapid.IntRange(1, 5).Draw(t, "limit"),
		Queue:  rapid.SampledFrom([]string{"", "", "q"}).Draw(t, "queue"),
		Search: rapid.SampledFrom([]string{"", "", "a", "LEASE"}).Draw(t, "search"),
	}
	if rapid.Bool().Draw(t, "looks at few") {
		q.MaxScan = rapid.IntRange(1, 5).Draw(t, "scan")
	}
	if len(m.jobs) > 0 && rapid.Bool().Draw(t, "goes on") {
		q.After = m.job(t).ID
	}
	same(m, t, func(s *side) (jobs.JobPage, error) { return s.List(m.ctx, client, q) })
}

// lookAtJobs compares what a client fills, one job, and one of the other things to read.
func (m *model) lookAtJobs(t *rapid.T) {
	client := m.client(t)
	same(m, t, func(s *side) (jobs.Usage, error) { return s.Usage(m.ctx, client) })
	same(m, t, func(s *side) (jobs.QueuePage, error) { return s.Queues(m.ctx, client, "", 1) })
	same(m, t, func(s *side) (jobs.QueuePage, error) { return s.Queues(m.ctx, client, "p", 2) })
	same(m, t, func(s *side) (map[jobs.Status]int64, error) { return s.States(m.ctx, client) })
	if len(m.jobs) == 0 {
		return
	}
	j, name := m.job(t), drawArtifact(t)
	same(m, t, func(s *side) (jobs.Job, error) { return s.Get(m.ctx, j.ClientID, j.ID) })
	switch rapid.SampledFrom([]string{"room", "tail", "page", "list", "brief", "counts", "artifact"}).Draw(t, "read") {
	case "room":
		m.open(t)
	case "tail":
		m.tail(t)
	case "page":
		m.page(t)
	case "list":
		m.list(t)
	case "brief":
		same(m, t, func(s *side) (jobs.Job, error) { return s.Brief(m.ctx, j.ClientID, j.ID) })
	case "counts":
		same(m, t, func(s *side) (map[jobs.Status]int64, error) { return s.Counts(m.ctx) })
	default:
		same(m, t, func(s *side) (jobs.StoredArtifact, error) { return s.Artifact(m.ctx, j.ClientID, j.ID, name) })
	}
}

// lookAtSession compares one session.
func (m *model) lookAtSession(t *rapid.T) {
	k := m.session(t)
	same(m, t, func(s *side) (session.State, error) { return s.Session(m.ctx, k.client, k.id) })
}

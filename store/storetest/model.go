package storetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/store/storetest/reference"
)

// testModel gives the same random commands to the store and to the reference store, which
// is plain enough to be right, and wants the same answers and the same log. Time is fake,
// so that both answer at the same moment. The store under test is one, with fresh clients
// for each run; the reference is fresh.
func testModel(commands func(*model, *rapid.T) map[string]func(*rapid.T)) func(*world) {
	return func(w *world) {
		w.close()
		synctest.Test(w.T, func(t *testing.T) {
			w := &world{T: t, h: w.h, node: "n1", limits: modelLimits}
			w.open()
			defer w.close()
			run := 0
			rapid.Check(w, func(t *rapid.T) { // a *testing.T would be asked for its deadline, which fake time has none of
				run++
				m := newModel(w, run)
				defer m.tidy(w)
				t.Repeat(stepwise(commands(m, t)))
				m.checkLogs(t)
				m.checkChanges(t, w.told())
			})
		})
	}
}

// stepwise lets time go on before each command. What is only read takes none.
func stepwise(commands map[string]func(*rapid.T)) map[string]func(*rapid.T) {
	for name, command := range commands {
		if name == "" {
			continue
		}
		commands[name] = func(t *rapid.T) {
			time.Sleep(modelStep)
			command(t)
		}
	}
	return commands
}

var modelLimits = jobs.Limits{JobsPerClient: 6, ArtifactsPerClient: 1000, QueueTTL: time.Hour}

// Times of the model. No time that something lasts ends at a moment at which a command
// can be given, so that rounding does not matter.
const (
	modelStep = 5 * time.Millisecond // no store waits longer for company
	offStep   = 2 * time.Millisecond
	modelLong = time.Hour + offStep
	// modelRound is what stores may differ by in how long it is until something is due.
	modelRound = 2 * time.Millisecond
)

// side is one of the two stores, with what only it names so.
type side struct {
	Store
	publisher *publisher
	epochs    map[string]string // by client
	leases    []jobs.Lease      // in the order of their claims
}

// listen learns the epochs that the store writes in.
func (s *side) listen(events []eventlog.Event) {
	for _, e := range events {
		at, _ := eventlog.ParseCursor(e.ID)
		s.epochs[e.Client] = at.Epoch
	}
}

// cursor is a place in a log as this store names it.
func (s *side) cursor(client string, seq uint64) eventlog.Cursor {
	if s.epochs[client] == "" {
		return eventlog.Cursor{}
	}
	return eventlog.Cursor{Epoch: s.epochs[client], Seq: seq}
}

// model is one run.
type model struct {
	ctx               context.Context
	wall              func() time.Time
	run               int
	reference, tested *side
	clients           []string
	jobs              []jobs.Job    // as they were submitted
	n                 int           // counts what needs a name of its own: keys, files, holds
	changed           []jobs.Change // that the reference told of
	compare           cmp.Options
}

func newModel(w *world, run int) *model {
	m := &model{
		ctx: w.Context(), wall: w.wall, run: run, clients: []string{fmt.Sprint("m", run), fmt.Sprint("n", run)},
		reference: &side{publisher: &publisher{}, epochs: make(map[string]string)},
		tested:    &side{publisher: &w.publisher, epochs: make(map[string]string), Store: w.store},
	}
	w.check, m.reference.publisher.check = m.tested.listen, m.reference.listen
	m.reference.Store = reference.Open(reference.NewData(), reference.Options{
		Node: w.node, Publisher: m.reference.publisher, Now: w.wall, Limits: w.limits,
		OnChanges: func(all []jobs.Change) { m.changed = append(m.changed, all...) },
	})
	w.told()
	m.compare = cmp.Options{
		cmp.Comparer(func(x, y string) bool { return x == y || m.plain(x) == m.plain(y) }),
		cmp.Comparer(func(x, y []byte) bool { return bytes.Equal(x, y) || m.plain(string(x)) == m.plain(string(y)) }),
		cmp.Comparer(func(x, y jobs.Lease) bool { return x.Client == y.Client && x.JobID == y.JobID }),
	}
	return m
}

// plain is a text without the names of epochs.
func (m *model) plain(s string) string {
	for _, side := range []*side{m.reference, m.tested} {
		for _, epoch := range side.epochs {
			s = strings.ReplaceAll(s, epoch+"-", "epoch-")
		}
	}
	return s
}

// answer is what a store gave.
type answer[T any] struct {
	Value   T
	Refusal string
}

// refusal says in words that do not depend on a store why it refused.
func refusal(t *rapid.T, err error) string {
	var conflict *jobs.ConflictError
	var limit *jobs.LimitError
	var invalid *jobs.InvalidError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &conflict):
		raw, _ := json.Marshal(conflict.Job) // a job always encodes
		return "conflict: " + string(raw)
	case errors.As(err, &limit):
		return fmt.Sprintf("limit: %+v", *limit)
	case errors.As(err, &invalid):
		return "invalid: " + invalid.Error()
	}
	for _, known := range []error{
		jobs.ErrNoArtifact, jobs.ErrNotFound, jobs.ErrLeaseLost, jobs.ErrIdempotencyMismatch, jobs.ErrArtifactChanged,
		auth.ErrNoKey, auth.ErrExists,
	} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	t.Fatalf("unexpected error: %v", err)
	return ""
}

// both gives a command to both stores and returns their answers.
func both[T any](m *model, t *rapid.T, command func(*side) (T, error)) (want, got answer[T]) {
	ask := func(s *side) answer[T] {
		value, err := command(s)
		return answer[T]{value, refusal(t, err)}
	}
	return ask(m.reference), ask(m.tested)
}

// same gives a command to both stores and wants one answer.
func same[T any](m *model, t *rapid.T, command func(*side) (T, error)) answer[T] {
	t.Helper()
	want, got := both(m, t, command)
	if diff := cmp.Diff(want, got, m.compare); diff != "" {
		t.Fatalf("answer (-reference +store):\n%s", diff)
	}
	return got
}

// done is same for a command that answers nothing.
func done(m *model, t *rapid.T, command func(*side) error) {
	t.Helper()
	same(m, t, func(s *side) (struct{}, error) { return struct{}{}, command(s) })
}

// sweep is same for a sweep. The store may expect something to be due too early.
func (m *model) sweep(t *rapid.T, sweep func(*side) (jobs.Swept, error)) int {
	t.Helper()
	want, got := both(m, t, sweep)
	if w, g := want.Value, got.Value; w.Waits && (!g.Waits || g.Next > w.Next+modelRound) {
		t.Fatalf("the store waits: %v, for %v; the reference for %v", g.Waits, g.Next, w.Next)
	}
	want.Value.Waits, want.Value.Next = got.Value.Waits, got.Value.Next
	if diff := cmp.Diff(want, got, m.compare); diff != "" {
		t.Fatalf("sweep (-reference +store):\n%s", diff)
	}
	return got.Value.N
}

// checkLogs compares what is read of the logs and what was published of them.
func (m *model) checkLogs(t *rapid.T) {
	for _, client := range m.clients {
		page := same(m, t, func(s *side) (eventlog.Page, error) {
			return s.Page(m.ctx, eventlog.Room{Client: client}, 0, 10_000, 16<<20)
		}).Value
		published := m.tested.publisher.of(client)
		if diff := cmp.Diff(m.reference.publisher.of(client), published, m.compare); diff != "" {
			t.Fatalf("published (-reference +store):\n%s", diff)
		}
		for i, e := range published {
			if e.Seq != uint64(i+1) {
				t.Fatalf("event %d was published as number %d", e.Seq, i+1)
			}
		}
		for _, e := range page.Events {
			if diff := difference(published[e.Seq-1], e); diff != "" {
				t.Fatalf("event %d (-published +read):\n%s", e.Seq, diff)
			}
		}
	}
}

// checkChanges compares the changes of jobs that the stores told of.
func (m *model) checkChanges(t *rapid.T, told []jobs.Change) {
	whole := cmp.Transformer("milliseconds", func(d time.Duration) int64 { return d.Milliseconds() })
	for _, client := range m.clients { // whose jobs expire first is the store's affair
		others := func(c jobs.Change) bool { return c.Client != client }
		want, got := slices.DeleteFunc(slices.Clone(m.changed), others), slices.DeleteFunc(slices.Clone(told), others)
		if diff := cmp.Diff(want, got, whole, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("changes (-reference +store):\n%s", diff)
		}
	}
}

// tidy leaves nothing in the store under test that a sweep of the next run would find.
func (m *model) tidy(w *world) {
	for _, j := range m.jobs {
		_, _ = w.store.Cancel(m.ctx, j.ClientID, j.ID) // it may have ended
	}
	w.pruneAll(later())
	w.sweepAll(later())
	w.ok(w.store.ForgetGarbage(m.ctx, must(w.store.Garbage(m.ctx, "", 10_000))(w)))
	for _, id := range holdIDs {
		w.ok(w.store.DropHold(m.ctx, id))
	}
}

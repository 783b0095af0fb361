// Package storetest is the one suite that every store must pass.
package storetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/jobs/vault"
	"github.com/jobcast/jobcast/transport/socketio/session"
)

// Figures says how much there is, for metrics.
type Figures interface {
	// Counts returns the number of jobs by state.
	Counts(ctx context.Context) (map[jobs.Status]int64, error)

	// Usage returns what a client fills; nothing if there is no such client.
	Usage(ctx context.Context, client string) (jobs.Usage, error)

	// Filled returns what all clients fill.
	Filled(ctx context.Context) (jobs.Filled, error)
}

// Store is what is tested.
type Store interface {
	jobs.Store
	eventlog.Reader
	Figures
	session.Store
	auth.Store
	auth.Secrets
	vault.Store
	Close() error
}

// Options is how a test opens a store.
type Options struct {
	Node      string // the name of the node that starts
	Publisher eventlog.Publisher
	OnChanges func([]jobs.Change)
	Now       func() time.Time // the clock on the wall, which a test sets forward and back
	Limits    jobs.Limits
}

// Harness gives a test one place where data is kept.
type Harness struct {
	// Open opens the store on that data, as a node that starts does. What the same
	// node opened before is closed by then. Failures end the test.
	Open func(o Options) Store
	// Manage opens the data beside the node that serves them, as a command does that
	// manages keys.
	Manage func() Store
	// Save is called while the store is closed. It copies the data and returns
	// a function, also called while the store is closed, that puts them back.
	Save func() (restore func())
	// Break lets every read and write of the store's files fail, as on a disk that
	// does not answer, until heal is called. The store is open.
	Break func() (heal func())
}

// test is one case of the suite.
type test struct {
	name string
	run  func(*world)
}

// Run runs the suite; newHarness is called once for each test, with fresh data. A store
// that several nodes may serve at the same time also passes RunNodes.
func Run(t *testing.T, newHarness func(t *testing.T) Harness) {
	runAll(t, newHarness, []test{
		{"Submit", testSubmit}, {"SubmitTwiceSameKey", testIdempotency}, {"TwinsInFlight", testTwins},
		{"Batch", testBatch}, {"BatchTwiceSameKey", testBatchKey}, {"BatchTwins", testBatchTwins}, {"BatchLimit", testBatchLimit},
		{"Queues", testQueues}, {"QueuePages", testQueuePages}, {"Changes", testChanges}, {"List", testList}, {"ListBytes", testListBytes}, {"Brief", testBrief}, {"RetryLarge", testRetryLarge},
		{"Cancel", testCancel}, {"Retry", testRetry}, {"Ownership", testOwnership},
		{"Claim", testClaim}, {"ClaimBytes", testClaimBytes}, {"ClaimQueues", testClaimQueues}, {"ClaimAnnounces", testClaimAnnounces}, {"Priority", testPriority}, {"Turns", testTurns},
		{"TurnsPerQueue", testTurnsPerQueue}, {"Share", testShare}, {"Browsers", testBrowsers}, {"RunAt", testRunAt}, {"ClaimRace", testClaimRace},
		{"Append", testAppend}, {"Complete", testComplete}, {"Fail", testFail}, {"Release", testRelease},
		{"Settle", testSettle}, {"SettleAgain", testSettleAgain}, {"SettleBytes", testSettleBytes}, {"SettleFull", testSettleFull}, {"NextClaim", testNextClaim},
		{"NextClaimFails", testNextClaimFails}, {"NextClaimRace", testNextClaimRace}, {"NextClaimRefused", testNextClaimRefused}, {"Unclaimed", testUnclaimed},
		{"Artifacts", testArtifacts}, {"ArtifactsGo", testArtifactsGo}, {"ArtifactsFit", testArtifactsFit},
		{"Expire", testExpire}, {"SweepsTellWhere", testSweepsTellWhere}, {"Fencing", testFencing}, {"AttemptTimeout", testTimeout}, {"LeasesAreLinear", testLinear},
		{"LocalLeases", testLocalLeases}, {"ClockIsSet", testClockIsSet}, {"ClockIsSetBackMeanwhile", testClockIsSetMeanwhile(-2 * time.Hour)}, {"ClockIsSetForwardMeanwhile", testClockIsSetMeanwhile(2 * time.Hour)}, {"RunAtFollowsTheClock", testRunAtFollows},
		{"CancelRacesComplete", testCancelRace}, {"Gapless", testGapless}, {"PublishedIsReadable", testPublished},
		{"Page", testPage}, {"Open", testOpen}, {"OpenEvents", testOpenEvents}, {"Tail", testTail}, {"BeforeEnd", testBeforeEnd}, {"Epochs", testEpochs},
		{"Restart", testRestart}, {"Restore", testRestore},
		{"Prune", testPrune}, {"PruneLargeJob", testPruneLarge}, {"PruneFreesKey", testPruneKey}, {"PruneFreesBatch", testPruneBatch},
		{"Sessions", testSessions}, {"SessionIDs", testSessionIDs}, {"SessionOwner", testSessionOwner},
		{"SessionLeft", testSessionLeft}, {"SessionEnds", testSessionEnds}, {"SessionTouches", testTouches}, {"SessionSweep", testSessionSweep}, {"SessionSweepMany", testSessionSweepMany},
		{"SessionJobs", testSessionJobs},
		{"JobLimit", testJobLimit}, {"JobLimitEndings", testJobLimitEndings}, {"JobLimitRace", testJobLimitRace},
		{"ArtifactLimit", testArtifactLimit}, {"ArtifactHolds", testArtifactHolds}, {"ArtifactLimitRace", testArtifactRace},
		{"StorageFull", testStorageFull}, {"StorageFullAtOnce", testStorageFullAtOnce}, {"ExpireJobs", testExpireJobs}, {"ExpireJobsInTurn", testExpireTurns},
		{"ExpireRacesClaim", testExpireRace}, {"ExpiryClock", testExpiryClock}, {"QueueTTL", testQueueTTL},
		{"Keys", testKeys}, {"KeyLimit", testKeyLimit}, {"EndedKeys", testEndedKeys}, {"SignIns", testSignIns}, {"KeysBesideServe", testManage}, {"SigningSecret", testSecret}, {"SigningSecretAtOnce", testSecretAtOnce}, {"Sealed", testSealed}, {"SealedWith", testSealedWith}, {"SealedLimits", testSealedLimits}, {"Context", testContext}, {"Closed", testClosed}, {"Trouble", testTrouble},
		{"Model", testModel((*model).jobCommands)}, {"ArtifactModel", testModel((*model).artifactCommands)},
		{"SessionModel", testModel((*model).sessionCommands)}, {"KeyModel", testModel((*model).keyCommands)},
	})
}

func runAll(t *testing.T, newHarness func(t *testing.T) Harness, tests []test) {
	t.Helper()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := &world{T: t, h: newHarness(t)}
			test.run(w.start("n1"))
		})
	}
}

// publisher is a Publisher that keeps what it is told.
type publisher struct {
	mu     sync.Mutex
	events []eventlog.Event       // guarded by mu
	check  func([]eventlog.Event) // called with each publish; set before the store is used
}

func (p *publisher) Publish(events []eventlog.Event) (answered func()) {
	if p.check != nil {
		p.check(events)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, events...)
	return nil
}

// of returns what was published of a client so far.
func (p *publisher) of(client string) []eventlog.Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []eventlog.Event
	for _, e := range p.events {
		if e.Client == client {
			out = append(out, e)
		}
	}
	return out
}

// world is a test with the store that one node has open.
type world struct {
	*testing.T
	h         Harness
	node      string
	store     Store
	limits    jobs.Limits // of the store as it is opened
	publisher publisher
	check     func([]eventlog.Event)
	changes   []jobs.Change // that the store told of; guarded by publisher.mu
	skew      atomic.Int64  // what the clock on the wall was set forward by, a time.Duration
}

// setClock sets the clock on the wall forward, or back, against the real one.
func (w *world) setClock(by time.Duration) { w.skew.Store(int64(by)) }

// wall tells the time without a monotonic reading.
func (w *world) wall() time.Time { return time.Now().Add(time.Duration(w.skew.Load())).Round(0) }

func (w *world) open() {
	w.publisher.check = func(events []eventlog.Event) {
		if w.check != nil {
			w.check(events)
		}
	}
	tell := func(all []jobs.Change) {
		w.publisher.mu.Lock()
		defer w.publisher.mu.Unlock()
		w.changes = append(w.changes, all...)
	}
	w.store = w.h.Open(Options{OnChanges: tell, Node: w.node, Publisher: &w.publisher, Now: w.wall, Limits: w.limits})
}

// told returns the changes that the store told of since it was asked last.
func (w *world) told() []jobs.Change {
	w.publisher.mu.Lock()
	defer w.publisher.mu.Unlock()
	all := w.changes
	w.changes = nil
	return all
}

// start lets a node open the data of the test, until its end.
func (w *world) start(node string) *world {
	w.Helper()
	n := &world{T: w.T, h: w.h, node: node, limits: w.limits}
	n.open()
	w.Cleanup(n.close)
	return n
}

// limit opens the store anew with bounds.
func (w *world) limit(l jobs.Limits) {
	w.Helper()
	w.limits = l
	w.reopen()
}

func (w *world) close() {
	if w.store == nil {
		return
	}
	if err := w.store.Close(); err != nil {
		w.Errorf("close: %v", err)
	}
	w.store = nil
}

func (w *world) reopen() {
	w.Helper()
	w.close()
	w.open()
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// difference is [cmp.Diff] that looks at bytes as a whole, because a large job has many.
func difference(want, got any, opts ...cmp.Option) string {
	return cmp.Diff(want, got, append(opts, cmp.Comparer(func(x, y []byte) bool {
		return (x == nil) == (y == nil) && bytes.Equal(x, y)
	}))...)
}

// must returns v, or ends the test.
func must[T any](v T, err error) func(*world) T {
	return func(w *world) T {
		w.Helper()
		if err != nil {
			w.Fatalf("unexpected error: %v", err)
		}
		return v
	}
}

// queued is a spec for the queue "q" with three attempts.
func queued() jobs.Spec {
	return jobs.Spec{Queue: "q", Payload: json.RawMessage(`{"n":1}`), MaxAttempts: 3, Timeout: 24 * time.Hour}
}

// swept unpacks what a sweep has done, without where jobs became claimable. Next is
// when there is something to sweep again; zero: nothing is known to become due.
func swept(out jobs.Swept, err error) (n int, next time.Time, _ error) {
	if out.Waits {
		next = time.Now().Add(out.Next)
	}
	return out.N, next, err
}

func (w *world) submit(client string, spec jobs.Spec) jobs.Job {
	w.Helper()
	j, replayed, err := w.store.Submit(w.Context(), client, newID(), spec, jobs.Idempotency{})
	if err != nil || replayed {
		w.Fatalf("submit: replayed %v, error %v", replayed, err)
	}
	return j
}

func (w *world) get(client, id string) jobs.Job {
	w.Helper()
	return must(w.store.Get(w.Context(), client, id))(w)
}

// claim takes one job of the client's queue "q".
func (w *world) claim(client string) jobs.Leased {
	w.Helper()
	got := w.claims(jobs.Claim{Client: client, Queues: []string{"q"}, Max: 1, TTL: time.Hour})
	if len(got) != 1 {
		w.Fatalf("claimed %d jobs, want 1", len(got))
	}
	return got[0]
}

func (w *world) claims(c jobs.Claim) []jobs.Leased {
	w.Helper()
	return must(w.store.Claim(w.Context(), c))(w)
}

// page reads a room to the end, in pages of n events.
func (w *world) page(r eventlog.Room, after uint64, n int) []eventlog.Event {
	w.Helper()
	var all []eventlog.Event
	for {
		p := must(w.store.Page(w.Context(), r, after, n, 1<<20))(w)
		all = append(all, p.Events...)
		if !p.More {
			return all
		}
		if len(p.Events) == 0 {
			w.Fatal("a page has more, and no event")
		}
		after = p.Events[len(p.Events)-1].Seq
	}
}

func (w *world) history(client, job string) []eventlog.Event {
	w.Helper()
	return w.page(eventlog.Room{Client: client, Job: job}, 0, 1000)
}

// wantTypes checks the types of a job's events.
func (w *world) wantTypes(client, job string, want ...eventlog.Type) {
	w.Helper()
	var got []eventlog.Type
	for _, e := range w.history(client, job) {
		got = append(got, e.Type)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		w.Errorf("events of the job are %v, want %v", got, want)
	}
}

// data decodes an event's data object and checks the event's frame.
func (w *world) data(e eventlog.Event) map[string]any {
	w.Helper()
	var frame struct {
		ID, Type, JobID, Status, Timestamp string
		Data                               map[string]any
	}
	if err := json.Unmarshal(e.JSON, &frame); err != nil {
		w.Fatalf("event %s: %v", e.JSON, err)
	}
	if frame.ID != e.ID || frame.Type != string(e.Type) || frame.JobID != e.JobID || frame.Status != e.Type.Status() {
		w.Errorf("event %s does not agree with %+v", e.JSON, e)
	}
	return frame.Data
}

func (w *world) wantStatus(j jobs.Job, want jobs.Status) {
	w.Helper()
	if j.Status != want {
		w.Fatalf("job is %s, want %s", j.Status, want)
	}
}

package rest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/hub"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/jobs/action"
	"github.com/jobcast/jobcast/store/files"
	"github.com/jobcast/jobcast/store/sqlite"
	"github.com/jobcast/jobcast/store/sqlite/sqlitetest"
	"github.com/jobcast/jobcast/transport"
	"github.com/jobcast/jobcast/transport/rest/claim"
	"github.com/jobcast/jobcast/transport/wire"
)

// site is the whole of the plain HTTP interface over a real store and a real
// listener. Only the streams are the test's own: they are other packages' work.
type site struct {
	t       *testing.T
	last    times
	dir     string
	addr    string
	door    *transport.Door
	store   *sqlite.Store
	service *jobs.Service
	streams *auth.Streams
	pool    *wire.Pool
	ends    *ends
	log     *logbook

	admin, plain, watcher, submitter, foreign string // keys; the last of another client

	mu       sync.Mutex // guards streamed
	streamed []*transport.Admission
}

type setting func(*Deps, *auth.Limits)

func newSite(t *testing.T, settings ...setting) *site {
	t.Helper()
	return newSiteWithTimes(t, times{}, settings...)
}

// times are how long things last; zero values are the defaults.
type times struct {
	lease   time.Duration // of claims that name none
	command time.Duration // how long an end that claims waits for the store
}

func newSiteWithTimes(t *testing.T, last times, settings ...setting) *site {
	t.Helper()
	s := &site{t: t, last: last, dir: sqlitetest.Folder(t), ends: &ends{over: map[string]chan struct{}{}, made: make(chan struct{}, 1)}, log: &logbook{}}
	log := slog.New(slog.NewJSONHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	s.store, err = sqlite.Open(t.Context(), s.dir, sqlite.Options{Publisher: s.ends, Serving: true, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.store.Close(); err != nil {
			t.Errorf("close store: %v", err)
		}
	})
	s.admin = s.key("acme", auth.Submit, auth.Watch, auth.Work, auth.Admin)
	s.plain, s.foreign = s.key("acme"), s.key("umbra", auth.Submit, auth.Watch, auth.Admin)
	s.watcher, s.submitter = s.key("acme", auth.Watch), s.key("acme", auth.Submit)

	core := hub.New(s.store)
	t.Cleanup(core.Close)
	s.ends.hub.Store(core)
	kept, err := files.Open(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kept.Close() })
	s.service = jobs.NewService(s.store, jobs.ServiceOptions{Logger: log, LeaseTTL: last.lease, Files: kept})
	d := Deps{
		Jobs: s.service, Keys: s.store, Stream: s.stream, Hub: core,
		Submit:  jobs.SubmitOptions{Actions: action.Builtin(action.Options{})},
		Limits:  jobs.Limits{JobsPerClient: 100_000},
		Usage:   s.store.Usage,
		Actions: action.Builtin(action.Options{}).Describe(),
		Metrics: func(c *fiber.Ctx) error { return c.SendString("up 1\n") },
	}
	var limits auth.Limits
	for _, set := range settings {
		set(&d, &limits)
	}
	secret, err := s.store.SigningSecret(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	signer, err := auth.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	d.Tokens = signer
	verifier := auth.NewVerifier(s.store, auth.VerifierOptions{Limits: limits, Signer: signer, Logger: log})
	d.Streams, s.streams = verifier.Streams(), verifier.Streams()
	d.SignIn = verifier.SignIn
	if s.door, err = transport.New(transport.Options{Auth: verifier, Log: log}); err != nil {
		t.Fatal(err)
	}
	d.Door = s.door
	s.serve(d, verifier, log)
	return s
}

func (s *site) serve(d Deps, v *auth.Verifier, log *slog.Logger) {
	app := s.door.App()
	s.pool = wire.NewPool(wire.Options{Log: log, Serve: app.Server().ServeConn})
	claimed, ok := d.Jobs.(claim.Jobs)
	if !ok {
		claimed = s.service
	}
	claims := claim.New(claim.Options{
		Door: s.door, Streams: s.streams, Check: v.Check, Jobs: claimed, Pool: s.pool, Log: log, CommandTime: s.last.command,
	})
	app.Post("/v1/workers/claim", claims.Serve)
	d.EndAndClaim = claims.End
	Mount(app, d)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	served := make(chan error, 1)
	guard := wire.NewGuard(ln, wire.GuardOptions{})
	go func() { served <- app.Listener(guard) }()
	s.t.Cleanup(func() {
		if err := app.Shutdown(); err != nil {
			s.t.Errorf("shutdown: %v", err)
		}
		s.door.Wait()
		s.pool.Close() // connections that it gave back are the server's, and gone by now
		claims.Close()
		_ = guard.Close() // a shutdown that came before Serve closes nothing
		guard.Cut()
		<-served
	})
}

// key stores a key and returns its secret.
func (s *site) key(client string, scopes ...auth.Scope) string {
	s.t.Helper()
	k, secret, err := auth.NewKey(client, "test", scopes, auth.KeyOptions{})
	if err == nil {
		err = s.store.CreateKey(s.t.Context(), k)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return secret
}

// stream stands for the package that streams: it answers and keeps the
// admission, as a stream that goes on would.
func (s *site) stream(c *fiber.Ctx, p auth.Principal, a *transport.Admission, job jobs.Job, f transport.EventFormat) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streamed = append(s.streamed, a)
	return c.SendString(fmt.Sprint(p.ClientID, " ", job.ID, " ", f.Kind()))
}

// ends is a Publisher that knows which jobs have ended, and tells the hub.
type ends struct {
	hub  atomic.Pointer[hub.Hub]
	made chan struct{} // gets a value when there is a first job

	mu   sync.Mutex               // guards over
	over map[string]chan struct{} // closed by Publish
}

func (e *ends) of(id string) chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over[id] == nil {
		e.over[id] = make(chan struct{})
	}
	return e.over[id]
}

func (e *ends) Publish(events []eventlog.Event) (answered func()) {
	if h := e.hub.Load(); h != nil {
		answered = h.Append(events)
	}
	select {
	case e.made <- struct{}{}:
	default:
	}
	for _, ev := range events {
		if ev.Type.Terminal() {
			close(e.of(ev.JobID))
		}
	}
	return answered
}

// finish runs a job of the queue q to its end as a worker would.
func (s *site) finish(id string) {
	s.t.Helper()
	got, err := s.store.Claim(s.t.Context(), jobs.Claim{Client: "acme", Queues: []string{"q"}, Max: 1, TTL: time.Minute})
	if err != nil || len(got) != 1 || got[0].Job.ID != id {
		s.t.Fatalf("claimed %v, %v; want job %s", got, err, id)
	}
	if _, err := s.store.Complete(s.t.Context(), got[0].Lease, json.RawMessage(`{"ok":true}`)); err != nil {
		s.t.Fatal(err)
	}
}

type answer struct {
	*http.Response
	body string
}

const someJob = `{"queue":"q","payload":{"a":"<b>"}}`

// call makes one request with a key ("": none); headers are `Name: value`.
func (s *site) call(method, target, key, body string, headers ...string) answer {
	s.t.Helper()
	a, err := s.try(method, target, key, body, headers...)
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// try is call for other goroutines than the test's.
func (s *site) try(method, target, key, body string, headers ...string) (answer, error) {
	req, err := http.NewRequest(method, "http://"+s.addr+target, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Content-Type" {
			req.Header.Del(name)
		}
		req.Header.Add(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	return answer{res, string(data)}, err
}

func (a answer) job(t *testing.T, status int) jobs.Job {
	t.Helper()
	var j jobs.Job
	if a.StatusCode != status {
		t.Fatalf("%d, want %d: %s", a.StatusCode, status, a.body)
	}
	// Times are not read back: jobs.Time only writes.
	var wire struct {
		ID       string          `json:"id"`
		ClientID string          `json:"clientId"`
		Status   jobs.Status     `json:"status"`
		Payload  json.RawMessage `json:"payload"`
		RetryOf  *string         `json:"retryOf"`
		Cursor   string          `json:"cursor"`
	}
	if err := json.Unmarshal([]byte(a.body), &wire); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
	j.ID, j.ClientID, j.Status, j.Payload, j.RetryOf, j.Cursor =
		wire.ID, wire.ClientID, wire.Status, wire.Payload, wire.RetryOf, wire.Cursor
	return j
}

type problem struct {
	Type, Title, Detail, Instance string
	Status                        int
	Code                          transport.Code
	Errors                        []jobs.FieldError
	Job                           *struct {
		ID     string      `json:"id"`
		Status jobs.Status `json:"status"`
	}
}

func (a answer) problem(t *testing.T, want transport.Code) problem {
	t.Helper()
	var p problem
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Fatalf("%v in %d %s", err, a.StatusCode, a.body)
	}
	if a.Header.Get("Content-Type") != "application/problem+json" || p.Code != want || p.Status != a.StatusCode {
		t.Fatalf("%d %s, want %s", a.StatusCode, a.body, want)
	}
	return p
}

// count returns how many jobs acme has.
func (s *site) count() int {
	s.t.Helper()
	page, err := s.store.List(s.t.Context(), "acme", jobs.ListQuery{Limit: 200})
	if err != nil {
		s.t.Fatal(err)
	}
	return len(page.Jobs)
}

// logbook is a log sink that tests read while the server writes.
type logbook struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

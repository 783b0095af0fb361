package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/transport/transporttest"
)

// crashRecorder records what the clients of a program that is killed were told.
type crashRecorder struct {
	t      *testing.T
	caller transporttest.Caller
	watch  []*watcher

	mu     sync.Mutex // guards everything below
	addr   string
	acked  map[string]string // by idempotency key: the job's id
	unsure []string          // idempotency keys whose call failed
	keys   int               // made

	stop context.CancelFunc // ends the load at hand
	busy sync.WaitGroup
}

// watcher reads the client's log over one transport, through all crashes.
type watcher struct {
	transport transporttest.Transport
	cursor    string
	got       []transporttest.Item
}

func newCrashRecorder(t *testing.T, secret string) *crashRecorder {
	rec := &crashRecorder{t: t, acked: make(map[string]string)}
	rec.caller = transporttest.Caller{Secret: secret, Dial: func(ctx context.Context) (net.Conn, error) {
		rec.mu.Lock()
		addr := rec.addr
		rec.mu.Unlock()
		var d net.Dialer
		return d.DialContext(ctx, "tcp", addr)
	}}
	for _, tr := range transporttest.Transports() {
		rec.watch = append(rec.watch, &watcher{transport: tr})
	}
	return rec
}

func (rec *crashRecorder) at(addr string) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.addr = addr
}

// load submits jobs and reads the log until rest. The channel is closed once n
// more jobs were acknowledged.
func (rec *crashRecorder) load(n int) <-chan struct{} {
	ctx, stop := context.WithCancel(rec.t.Context())
	rec.stop = stop
	for _, w := range rec.watch {
		rec.busy.Go(func() { w.read(ctx, rec.caller) })
	}
	enough := make(chan struct{})
	left := n // guarded by rec.mu
	for range 4 {
		rec.busy.Go(func() {
			hc := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return rec.caller.Dial(ctx)
			}}}
			defer hc.CloseIdleConnections()
			for rec.submit(ctx, hc) {
				rec.mu.Lock()
				if left--; left == 0 {
					close(enough)
				}
				rec.mu.Unlock()
			}
		})
	}
	return enough
}

// rest waits until the load has noticed that the program is gone.
func (rec *crashRecorder) stopLoad() {
	rec.stop()
	rec.busy.Wait()
}

// nextKey returns an idempotency key: one that is unsure, or a new one.
func (rec *crashRecorder) nextKey() string {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if n := len(rec.unsure); n > 0 {
		key := rec.unsure[n-1]
		rec.unsure = rec.unsure[:n-1]
		return key
	}
	rec.keys++
	return fmt.Sprintf("call-%d", rec.keys)
}

// submit makes one job; false means that its fate is not known.
func (rec *crashRecorder) submit(ctx context.Context, hc *http.Client) bool {
	key := rec.nextKey()
	id, err := rec.post(ctx, hc, key)
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if err != nil {
		rec.unsure = append(rec.unsure, key)
		return false
	}
	rec.acked[key] = id
	return true
}

func (rec *crashRecorder) post(ctx context.Context, hc *http.Client, key string) (id string, err error) {
	body := `{"actions":[{"type":"wait","ms":1},{"type":"wait","ms":3}]}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://jobcast.test/v1/jobs", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+rec.caller.Secret)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	resp, err := hc.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	var j struct{ ID string }
	if err := json.Unmarshal(answer, &j); err != nil || (resp.StatusCode != http.StatusAccepted && resp.StatusCode != http.StatusOK) {
		return "", fmt.Errorf("%d %s", resp.StatusCode, answer)
	}
	return j.ID, nil
}

// read follows the log from where it was left until the program is gone.
func (w *watcher) read(ctx context.Context, c transporttest.Caller) {
	o := transporttest.Opening{Cursor: w.cursor}
	if w.cursor == "" {
		o.From = "start"
	}
	r, err := w.transport.Open(ctx, c, o)
	if err != nil {
		return
	}
	defer r.Close()
	for {
		it, err := r.Next()
		if err != nil {
			return
		}
		if it.Event != nil || it.Name == "reset" {
			w.got = append(w.got, it)
		}
		if cursor := r.Cursor(); cursor != "" {
			w.cursor = cursor
		}
	}
}

// settle repeats the calls whose fate is unknown, and waits until every job has
// ended.
func (rec *crashRecorder) settle() {
	hc := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return rec.caller.Dial(ctx)
	}}}
	defer hc.CloseIdleConnections()
	for len(rec.unsure) > 0 {
		if !rec.submit(rec.t.Context(), hc) {
			rec.t.Fatal("a repeated call failed")
		}
	}
	for _, id := range rec.acked {
		events := rec.all(transporttest.Opening{Job: id}, "") // to its end
		ends := 0
		for _, e := range events {
			if typeOf(rec.t, e).Terminal() {
				ends++
			}
		}
		if ends != 1 || !typeOf(rec.t, events[len(events)-1]).Terminal() {
			rec.t.Errorf("job %s has %d ends", id, ends)
		}
	}
}

// all reads a room from its start to the event at head, or to its end.
func (rec *crashRecorder) all(o transporttest.Opening, head string) []transporttest.Item {
	rec.t.Helper()
	ctx, cancel := context.WithTimeout(rec.t.Context(), time.Minute)
	defer cancel()
	o.From = "start"
	r, err := transporttest.Transports()[1].Open(ctx, rec.caller, o)
	if err != nil {
		rec.t.Fatalf("open %+v: %v", o, err)
	}
	defer r.Close()
	var got []transporttest.Item
	for {
		it, err := r.Next()
		switch {
		case errors.Is(err, io.EOF) && head == "":
			return got
		case err != nil:
			rec.t.Fatalf("%+v after %d events: %v", o, len(got), err)
		case it.Event != nil:
			got = append(got, it)
		}
		if it.Event != nil && it.ID == head {
			return got
		}
	}
}

func typeOf(t *testing.T, it transporttest.Item) eventlog.Type {
	t.Helper()
	var e struct{ Type eventlog.Type }
	if err := json.Unmarshal(it.Event, &e); err != nil {
		t.Fatalf("event %q: %v", it.Event, err)
	}
	return e.Type
}

// check compares the log as it is now with all that anybody was told.
func (rec *crashRecorder) check() {
	whole := rec.all(transporttest.Opening{}, rec.newest())
	created := make(map[string]bool)
	ended := make(map[string]bool)
	for i, it := range whole {
		if c, ok := eventlog.ParseCursor(it.ID); !ok || c.Seq != uint64(i+1) {
			rec.t.Fatalf("event %d of the log is %s", i+1, it.ID)
		}
		var e struct {
			Type  eventlog.Type
			JobID string
		}
		if err := json.Unmarshal(it.Event, &e); err != nil {
			rec.t.Fatal(err)
		}
		if ended[e.JobID] {
			rec.t.Errorf("%s after the end of job %s", e.Type, e.JobID)
		}
		created[e.JobID] = true
		ended[e.JobID] = e.Type.Terminal()
	}
	for key, id := range rec.acked {
		if !created[id] || !ended[id] {
			rec.t.Errorf("job %s of %s: created %v, ended %v", id, key, created[id], ended[id])
		}
	}
	if len(created) != len(rec.acked) {
		rec.t.Errorf("%d jobs for %d calls", len(created), len(rec.acked))
	}
	for _, w := range rec.watch {
		live := len(w.got)
		w.catchUp(rec, rec.newest())
		rec.compare(w, whole)
		if live == 0 {
			rec.t.Errorf("%s read nothing while the program was killed", w.transport.Name)
		}
	}
}

// catchUp reads on over the watcher's own transport up to the newest event.
func (w *watcher) catchUp(rec *crashRecorder, head string) {
	ctx, cancel := context.WithTimeout(rec.t.Context(), time.Minute)
	defer cancel()
	last := ""
	if n := len(w.got); n > 0 {
		last = w.got[n-1].ID
	}
	r, err := w.transport.Open(ctx, rec.caller, transporttest.Opening{Cursor: w.cursor})
	if err != nil {
		rec.t.Fatalf("%s from %q: %v", w.transport.Name, w.cursor, err)
	}
	defer r.Close()
	for last != head {
		it, err := r.Next()
		if err != nil {
			rec.t.Fatalf("%s after %s: %v", w.transport.Name, last, err)
		}
		if it.Event != nil || it.Name == "reset" {
			w.got, last = append(w.got, it), it.ID
		}
	}
}

// newest is the cursor of the newest event, now that every job has ended.
func (rec *crashRecorder) newest() string {
	r, err := transporttest.Transports()[2].Open(rec.t.Context(), rec.caller, transporttest.Opening{From: "now"})
	if err != nil {
		rec.t.Fatal(err)
	}
	defer r.Close()
	return r.Cursor()
}

// compare checks what one reader got over all its resumes: the log from its
// start, without a gap, a double or another byte.
func (rec *crashRecorder) compare(w *watcher, whole []transporttest.Item) {
	if len(w.got) != len(whole) {
		rec.t.Errorf("%s read %d of %d events", w.transport.Name, len(w.got), len(whole))
		return
	}
	for i, it := range w.got {
		if it.Name != "" || !bytes.Equal(it.Event, whole[i].Event) {
			rec.t.Errorf("%s read %s %s as its event %d, the log has %s", w.transport.Name, it.Name, it.Event, i+1, whole[i].Event)
			return
		}
	}
}

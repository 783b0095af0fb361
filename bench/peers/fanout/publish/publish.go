// Package publish is what the servers of fan-out in Go share: events come over HTTP, are
// numbered, and go to a room. ../../README.md tells what it answers.
package publish

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const maxBody = 10 << 20

// Event is what subscribers of a room get.
type Event struct {
	ID        string          `json:"id"`
	Type      string          `json:"type"`
	JobID     string          `json:"jobId"`
	Status    string          `json:"status"`
	Timestamp string          `json:"timestamp"`
	Data      json.RawMessage `json:"data"`
}

// Key returns what clients must show.
func Key() string {
	if key := os.Getenv("BENCH_KEY"); key != "" {
		return key
	}
	return "bench-key-0123456789"
}

// Serve listens on a port of 127.0.0.1, 0 being any, says where, and serves mux and what
// publishes until SIGTERM. emit sends an event to a room; it is called for one event of a
// room at a time, in their order.
func Serve(port int, mux *http.ServeMux, emit func(room string, e Event) error) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	p := &publisher{emit: emit, rooms: map[string]*room{}}
	mux.HandleFunc("POST /publish/{room}", p.serve)
	mux.HandleFunc("GET /memory", func(w http.ResponseWriter, _ *http.Request) {
		debug.FreeOSMemory()
		answer(w, http.StatusOK, struct{}{})
	})
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	failed := make(chan error, 1)
	go func() { failed <- http.Serve(l, mux) }()
	fmt.Printf("listening on http://%s\n", l.Addr())
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done(): // at once: nothing is kept that could be lost
		return nil
	}
}

// publisher numbers and publishes the events of each room.
type publisher struct {
	emit  func(room string, e Event) error
	mu    sync.Mutex // guards rooms
	rooms map[string]*room
}

type room struct {
	mu  sync.Mutex // held while publishing, so that subscribers see the numbers in order
	seq int64      // of the last event
}

func (p *publisher) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil { // too much, or the client is gone and gets nothing
		answer(w, http.StatusRequestEntityTooLarge, map[string]string{"error": err.Error()})
		return
	}
	var events []json.RawMessage
	if bytes.HasPrefix(bytes.TrimSpace(body), []byte("[")) {
		err = json.Unmarshal(body, &events)
	} else {
		var event json.RawMessage
		err = json.Unmarshal(body, &event)
		events = append(events, event)
	}
	if err != nil {
		answer(w, http.StatusBadRequest, map[string]string{"error": "the body is not JSON"})
		return
	}
	id, err := p.publish(r.PathValue("room"), events)
	if err != nil {
		answer(w, http.StatusInternalServerError, map[string]string{"error": err.Error()})
		return
	}
	answer(w, http.StatusOK, map[string]string{"lastEventId": id})
}

// publish returns the id of the last event.
func (p *publisher) publish(name string, events []json.RawMessage) (string, error) {
	r := p.room(name)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, data := range events {
		err := p.emit(name, Event{
			ID: "p-" + strconv.FormatInt(r.seq+1, 10), Type: "job.progress", JobID: name, Status: "processing",
			Timestamp: time.Now().UTC().Format("2006-01-02T15:04:05.000Z07:00"), Data: data,
		})
		if err != nil {
			return "", fmt.Errorf("publish: %w", err)
		}
		r.seq++
	}
	return "p-" + strconv.FormatInt(r.seq, 10), nil
}

func (p *publisher) room(name string) *room {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.rooms[name]
	if r == nil {
		r = &room{}
		p.rooms[name] = r
	}
	return r
}

func answer(w http.ResponseWriter, status int, body any) {
	text, _ := json.Marshal(body) // of strings, which cannot fail
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(text)
}

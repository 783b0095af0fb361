// Command centrifuge is a server on the library of that name, as a peer of
// jobcast. ../README.md tells what it answers.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/centrifugal/centrifuge"
)

const maxBody = 10 << 20

func main() {
	port := flag.Int("port", 0, "port on 127.0.0.1; 0 is any")
	delay := flag.Duration("delay", 0, "how long messages for a connection are gathered; 0, the library's default: not at all")
	flag.Parse()
	if err := run(*port, *delay); err != nil {
		log.Fatal(err)
	}
}

func run(port int, delay time.Duration) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	key := os.Getenv("BENCH_KEY")
	if key == "" {
		key = "bench-key-0123456789"
	}
	node, err := newNode(key, delay)
	if err != nil {
		return err
	}
	p := &publisher{node: node, rooms: map[string]*room{}}
	mux := http.NewServeMux()
	mux.Handle("/connection/websocket", centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		UseWriteBufferPool: true, // saves about 3 KB for each idle connection
	}))
	mux.HandleFunc("POST /publish/{room}", p.serve)
	mux.HandleFunc("GET /memory", func(w http.ResponseWriter, _ *http.Request) {
		debug.FreeOSMemory()
		answer(w, http.StatusOK, struct{}{})
	})
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
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

// newNode returns a running node with the broker in memory. Clients that know
// the key may subscribe to the channels of jobs.
func newNode(key string, delay time.Duration) (*centrifuge.Node, error) {
	node, err := centrifuge.New(centrifuge.Config{
		LogLevel:   centrifuge.LogLevelError,
		LogHandler: func(e centrifuge.LogEntry) { log.Println(e.Message, e.Fields) },
	})
	if err != nil {
		return nil, fmt.Errorf("make node: %w", err)
	}
	node.OnConnecting(func(_ context.Context, e centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		if e.Token != key {
			return centrifuge.ConnectReply{}, centrifuge.DisconnectInvalidToken
		}
		// The node's tables are spread over locks by user, so each has its own.
		reply := centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{UserID: e.ClientID}}
		if delay > 0 {
			reply.WriteDelay, reply.WriteWithTimer, reply.MaxMessagesInFrame = delay, true, -1
		}
		return reply, nil
	})
	node.OnConnect(func(client *centrifuge.Client) {
		client.OnSubscribe(func(e centrifuge.SubscribeEvent, done centrifuge.SubscribeCallback) {
			if !strings.HasPrefix(e.Channel, "job:") {
				done(centrifuge.SubscribeReply{}, centrifuge.ErrorPermissionDenied)
				return
			}
			done(centrifuge.SubscribeReply{}, nil)
		})
	})
	if err := node.Run(); err != nil {
		return nil, fmt.Errorf("run node: %w", err)
	}
	return node, nil
}

// publisher numbers and publishes the events of each room.
type publisher struct {
	node  *centrifuge.Node
	mu    sync.Mutex // guards rooms
	rooms map[string]*room
}

type room struct {
	mu  sync.Mutex // held while publishing, so that subscribers see the numbers in order
	seq int64      // of the last event
}

type event struct {
	ID        string          `json:"id"`
	Type      string          `json:"type"`
	JobID     string          `json:"jobId"`
	Status    string          `json:"status"`
	Timestamp string          `json:"timestamp"`
	Data      json.RawMessage `json:"data"`
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
		text, err1 := json.Marshal(event{
			ID: "p-" + strconv.FormatInt(r.seq+1, 10), Type: "job.progress", JobID: name, Status: "processing",
			Timestamp: time.Now().UTC().Format("2006-01-02T15:04:05.000Z07:00"), Data: data,
		})
		_, err2 := p.node.Publish("job:"+name, text)
		if err := errors.Join(err1, err2); err != nil {
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

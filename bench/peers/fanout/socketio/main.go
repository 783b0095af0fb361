// Command socketio is a server on socket.io for Go, as a peer of jobcast.
// ../../README.md tells what it answers.
package main

import (
	"flag"
	"log"
	"net/http"

	"github.com/zishang520/socket.io/servers/socket/v3"

	"github.com/jobcast/jobcast/bench/peers/fanout/publish"
)

func main() {
	port := flag.Int("port", 0, "port on 127.0.0.1; 0 is any")
	flag.Parse()
	if err := run(*port); err != nil {
		log.Fatal(err)
	}
}

func run(port int) error {
	options := socket.DefaultServerOptions()
	options.SetServeClient(false)
	server := socket.NewServer(nil, options)
	jobs := server.Of("/jobs", nil)
	key := publish.Key()
	jobs.Use(func(s *socket.Socket, next func(*socket.ExtendedError)) {
		if shown, _ := s.Handshake().Auth["apiKey"].(string); shown != key {
			next(socket.NewExtendedError("unauthorized", nil))
			return
		}
		next(nil)
	})
	err := jobs.On("connection", func(args ...any) { welcome(args[0].(*socket.Socket)) })
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", server.ServeHandler(nil))
	return publish.Serve(port, mux, func(room string, e publish.Event) error {
		return jobs.To(socket.Room("job:"+room)).Emit("job.event", e)
	})
}

// welcome greets a client and lets it into rooms.
func welcome(s *socket.Socket) {
	_ = s.On("subscribe", func(args ...any) {
		if len(args) == 0 {
			return
		}
		message, _ := args[0].(map[string]any)
		id, _ := message["jobId"].(string)
		if id == "" {
			return
		}
		s.Join(socket.Room("job:" + id))
		_ = s.Emit("subscribed", map[string]any{"jobId": id})
		if done, ok := args[len(args)-1].(socket.Ack); ok {
			done([]any{map[string]any{"jobId": id}}, nil)
		}
	})
	_ = s.Emit("connected", map[string]any{"message": "connected", "clientId": s.Id()})
}

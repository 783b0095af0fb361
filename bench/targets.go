package main

import (
	"fmt"
	"slices"
	"strings"
)

// peerKey is what readers show a peer.
const peerKey = "bench-key-0123456789"

// targets returns every kind of server and protocol that can be measured.
func targets() []target {
	socketio := openPeer("node", "--expose-gc", "$ROOT/bench/peers/socketio.mjs")
	nestjs := openPeer("node", "--expose-gc", "$ROOT/bench/peers/nestjs.mjs")
	socketioBun := openPeer("$ROOT/bench/peers/node_modules/@oven/bun-linux-x64/bin/bun", "$ROOT/bench/peers/socketio-bun.mjs")
	socketioGo := openPeer("$ROOT/bench/peers/fanout/bin/socketio")
	centrifuge := openPeer("$ROOT/bench/peers/fanout/bin/centrifuge")
	gathering := openPeer("$ROOT/bench/peers/fanout/bin/centrifuge", "-delay", "5ms")
	batching := openPeer("$ROOT/bench/peers/fanout/bin/centrifuge", "-delay", "10ms", "-batch-delay", "10ms", "-batch-size", "32")
	jobcast := openJobcast()
	return []target{
		{"jobcast sse", jobcast, readStream("text/event-stream", func() decoder { return &sseDecoder{} })},
		{"jobcast websocket", jobcast, func(s *site, room string, last *reader) ([]byte, decoder) {
			return wsRequest("/v1/ws", s.addr.String(), s.key), &wsDecoder{dialog: &jobcastDialog{room: room, after: last.cursor()}}
		}},
		{"jobcast socket.io", jobcast, readSocketIO("live")},
		{"socket.io", socketio, readSocketIO("subscribed")},
		{"socket.io on Bun", socketioBun, readSocketIO("subscribed")},
		{"socket.io in Go", socketioGo, readSocketIO("subscribed")},
		{"nestjs", nestjs, readSocketIO("subscribed")},
		{"centrifuge", centrifuge, readCentrifuge},
		{"centrifuge gathering", gathering, readCentrifuge},
		{"centrifuge batching", batching, readCentrifuge},
		{"jobcast socket.io polling", jobcast, readPolling("live")},
		{"socket.io polling", socketio, readPolling("subscribed")},
		{"nestjs polling", nestjs, readPolling("subscribed")},
	}
}

// targetNotes say how a target differs from the defaults of what it is named after.
var targetNotes = map[string]string{
	"socket.io on Bun":     "the same server library on Bun and @socket.io/bun-engine, instead of Node and ws",
	"socket.io in Go":      "the server as github.com/zishang520/socket.io has it in Go",
	"centrifuge gathering": "the messages of a connection are gathered for 5 ms (WriteDelay, WriteWithTimer), as many in a frame as there are",
	"centrifuge batching":  "those of a channel are gathered too, up to 32 for at most 10 ms (GetChannelBatchConfig), and those of a connection for 10 ms",
}

// notesOf returns the captions' lines for those of the targets that need one.
func notesOf(targets []target) (notes []string) {
	for _, t := range targets {
		if note := targetNotes[t.name]; note != "" {
			notes = append(notes, t.name+": "+note)
		}
	}
	if slices.ContainsFunc(targets, func(t target) bool { return !strings.HasPrefix(t.name, "jobcast") }) {
		notes = append(notes, "the peers keep events in memory and answer at once; jobcast answers, and sends an event, after its commit with fsync")
	}
	return notes
}

func readStream(accept string, decode func() decoder) func(*site, string, *reader) ([]byte, decoder) {
	return func(s *site, room string, last *reader) ([]byte, decoder) {
		headers := []string{"Accept: " + accept}
		if last != nil {
			headers = append(headers, "Last-Event-ID: "+last.cursor())
		}
		return request("GET", "/v1/jobs/"+room+"/events", s.addr.String(), s.key, "", headers...), decode()
	}
}

func readSocketIO(ready string) func(*site, string, *reader) ([]byte, decoder) {
	return func(s *site, room string, last *reader) ([]byte, decoder) {
		d := &socketioDialog{room: room, key: s.key, ready: ready}
		if last != nil {
			old := last.dec.(*wsDecoder).dialog.(*socketioDialog) // made here too
			d.pid, d.offset = old.pid, old.offset
		}
		return wsRequest("/socket.io/?EIO=4&transport=websocket", s.addr.String(), s.key), &wsDecoder{dialog: d}
	}
}

func readCentrifuge(s *site, room string, _ *reader) ([]byte, decoder) {
	return wsRequest("/connection/websocket", s.addr.String(), s.key), &wsDecoder{dialog: &centrifugeDialog{room: room, key: s.key}}
}

func readPolling(ready string) func(*site, string, *reader) ([]byte, decoder) {
	return func(s *site, room string, _ *reader) ([]byte, decoder) {
		return newPollDecoder(s.addr.String(), socketioDialog{room: room, key: s.key, ready: ready})
	}
}

// targetsOf picks targets by name, in the order in which they are listed.
func targetsOf(names string) ([]target, error) {
	if names == "all" {
		return targets(), nil
	}
	asked := strings.Split(names, ",")
	var picked []target
	for _, t := range targets() {
		if slices.Contains(asked, t.name) {
			picked = append(picked, t)
		}
	}
	if len(picked) != len(asked) {
		return nil, fmt.Errorf("-targets: %q is not all, and not made of the names in bench/README.md", names)
	}
	return picked, nil
}

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
	centrifuge := openPeer("$ROOT/bench/peers/centrifuge/centrifuge")
	gathering := openPeer("$ROOT/bench/peers/centrifuge/centrifuge", "-delay", "5ms")
	jobcast := openJobcast()
	return []target{
		{"jobcast sse", jobcast, readStream("text/event-stream", func() decoder { return &sseDecoder{} })},
		{"jobcast websocket", jobcast, func(s *site, room string, last *reader) ([]byte, decoder) {
			return wsRequest("/v1/ws", s.addr.String(), s.key), &wsDecoder{dialog: &jobcastDialog{room: room, after: last.cursor()}}
		}},
		{"jobcast socket.io", jobcast, readSocketIO("live")},
		{"socket.io", socketio, readSocketIO("subscribed")},
		{"nestjs", nestjs, readSocketIO("subscribed")},
		{"centrifuge", centrifuge, readCentrifuge},
		{"centrifuge gathering", gathering, readCentrifuge},
		{"jobcast socket.io polling", jobcast, readPolling("live")},
		{"socket.io polling", socketio, readPolling("subscribed")},
		{"nestjs polling", nestjs, readPolling("subscribed")},
	}
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

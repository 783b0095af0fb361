package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

// What is missing in the log, repeated or out of order must be counted.
func TestCheckRooms(t *testing.T) {
	for name, c := range map[string]struct {
		log           string // sequence:message
		lost, doubled uint64
	}{
		"whole":         {"1:1 2:2 3:3", 0, 0},
		"a hole":        {"1:1 2:3", 1, 0},
		"cut short":     {"1:1 2:2", 1, 0},
		"a double":      {"1:1 2:1 3:2 4:3", 0, 1},
		"out of order":  {"1:1 2:3 3:2", 1, 1},
		"too many":      {"1:1 2:2 3:3 4:4", 0, 1},
		"log has holes": {"1:1 3:2 4:3", 0, 2},
	} {
		t.Run(name, func(t *testing.T) {
			var events []string
			for e := range strings.FieldsSeq(c.log) {
				seq, message, _ := strings.Cut(e, ":")
				events = append(events, fmt.Sprintf(`{"id":"e-%s","type":"job.progress","jobId":"r","data":{"message":"%s ."}}`, seq, message))
			}
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				all := events
				if r.FormValue("lastEventId") != "0-0" {
					all = nil
				}
				_, _ = fmt.Fprintf(w, `{"events":[%s],"lastEventId":"e-9"}`, strings.Join(all, ","))
			}))
			defer srv.Close()
			s := &site{addr: netip.MustParseAddrPort(srv.Listener.Addr().String()), rooms: []room{{name: "r"}}}
			lost, doubled, err := s.checkRooms(context.Background(), []uint64{3})
			if err != nil || lost != c.lost || doubled != c.doubled {
				t.Errorf("lost %d, doubled %d, %v, want %d and %d", lost, doubled, err, c.lost, c.doubled)
			}
		})
	}
}

package server

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/jobcast/jobcast/auth"
)

// demo runs one sample job and prints its events as they arrive, through the
// front door like any client. A key of its own is made if the caller has none,
// because the store keeps no secrets.
func (s *Server) demo(ctx context.Context, out io.Writer, url, socket, secret string) error {
	if secret == "" {
		var err error
		if secret, err = s.makeKey(ctx, "one demo run", auth.KeyOptions{TTL: demoKeyTTL}); err != nil {
			return err
		}
		defer s.dropKey(secret)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/jobs", strings.NewReader(sampleJob))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "text/event-stream")
	dial := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if socket != "" {
			network, addr = "unix", socket
		}
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}}
	defer dial.CloseIdleConnections()
	resp, err := (&http.Client{Transport: dial}).Do(req)
	if err != nil {
		return fmt.Errorf("demo job: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
		return fmt.Errorf("demo job: %s: %s", resp.Status, body)
	}
	fmt.Fprintln(out, "demo: one sample job, watched over SSE")
	if err := printEvents(out, resp.Body); err != nil && ctx.Err() == nil {
		return fmt.Errorf("demo stream: %w", err)
	}
	return nil
}

// printEvents prints each job event of an event stream on one line.
func printEvents(w io.Writer, stream io.Reader) error {
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, 128<<10) // an event is at most 64 KiB
	named := false
	for lines.Scan() {
		line := lines.Text()
		switch {
		case line == "":
			named = false
		case strings.HasPrefix(line, "event: "):
			named = true
		case strings.HasPrefix(line, "data: ") && !named:
			var e struct {
				ID        string
				Type      string
				Timestamp string
				Data      json.RawMessage
			}
			if err := json.Unmarshal([]byte(line[len("data: "):]), &e); err != nil {
				return err
			}
			fmt.Fprintf(w, "  %s  %-14s %s\n", e.Timestamp, e.Type, e.Data)
		}
	}
	return lines.Err()
}

// dropKey revokes the key of a demo run.
func (s *Server) dropKey(secret string) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	key, err := s.store.KeyByHash(ctx, auth.Hash(secret))
	if err == nil {
		err = s.store.RevokeKey(ctx, demoClient, key.ID, time.Now())
	}
	if err != nil {
		s.log.Warn("the demo key could not be revoked", "error", err)
	}
}

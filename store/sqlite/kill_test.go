package sqlite

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
)

// Environment of the kill test.
const (
	victimDir  = "JOBCAST_TEST_VICTIM_DIR"  // set: this process is a victim
	killRounds = "JOBCAST_TEST_KILL_ROUNDS" // number of rounds; default 5
)

var sample = jobs.Spec{Queue: "q", Payload: []byte("null"), MaxAttempts: 3, Timeout: 24 * time.Hour}

// victim submits and appends from many goroutines and writes each acknowledged
// event to stdout, until it is killed.
func victim() {
	ctx := context.Background()
	s, err := Open(ctx, os.Getenv(victimDir), Options{Serving: true})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	for n := range 16 {
		client := fmt.Sprintf("c%d", n%3)
		go func() {
			for {
				j, _, err := s.Submit(ctx, client, uuid.Must(uuid.NewV7()).String(), sample, jobs.Idempotency{})
				if err != nil {
					fmt.Println("error", err)
					return
				}
				fmt.Println("ack", client, j.Cursor)
				got, err := s.Claim(ctx, jobs.Claim{Client: client, Queues: []string{"q"}, Max: 1, Node: "n1"})
				if err != nil || len(got) == 0 {
					continue
				}
				for range 5 {
					r, err := s.Append(ctx, got[0].Lease, []jobs.Body{jobs.Progressed(1, "", "")})
					if err != nil {
						fmt.Println("error", err)
						return
					}
					fmt.Println("ack", client, r.LastEventID)
				}
			}
		}()
	}
	select {}
}

// TestKill kills a process under load and checks that what it acknowledged is
// in the log, which has no gap.
func TestKill(t *testing.T) {
	rounds := 5
	if v := os.Getenv(killRounds); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatal(err)
		}
		rounds = n
	}
	dir := t.TempDir()
	ledger := make(map[string][]string) // by client: acknowledged cursors
	for round := range rounds {
		killOne(t, dir, ledger, 200+50*(round%4))
		s, err := Open(t.Context(), dir, Options{Serving: true})
		if err != nil {
			t.Fatal(err)
		}
		checkLedger(t, s, ledger)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// killOne runs a victim until it has acknowledged n events, and kills it.
func killOne(t *testing.T, dir string, ledger map[string][]string, n int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victimDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var kill sync.Once
	for acked := 0; lines.Scan(); acked++ {
		word := strings.Fields(lines.Text())
		if len(word) != 3 || word[0] != "ack" {
			t.Errorf("victim: %s", lines.Text())
			break
		}
		ledger[word[1]] = append(ledger[word[1]], word[2])
		if acked >= n {
			kill.Do(func() { _ = cmd.Process.Kill() }) // and read what it still said
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // "signal: killed"
}

func checkLedger(t *testing.T, s *Store, ledger map[string][]string) {
	t.Helper()
	for client, acked := range ledger {
		stored := make(map[string]bool)
		var last uint64
		for more := true; more; {
			p, err := s.Page(t.Context(), eventlog.Room{Client: client}, last, 1000, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range p.Events {
				if e.Seq != last+1 {
					t.Fatalf("%s: event %d follows %d", client, e.Seq, last)
				}
				last = e.Seq
				stored[e.ID] = true
			}
			more = p.More
		}
		for _, id := range acked {
			if !stored[id] {
				t.Errorf("%s: acknowledged event %s is lost", client, id)
			}
		}
	}
	var result string
	if err := s.writerCheck(&result); err != nil || result != "ok" {
		t.Errorf("integrity: %s, %v", result, err)
	}
}

// writerCheck runs SQLite's own check.
func (s *Store) writerCheck(result *string) error {
	return s.readerDB.QueryRow("PRAGMA integrity_check").Scan(result)
}

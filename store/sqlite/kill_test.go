package sqlite

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
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

const killBatch = 50 // jobs in each batch of a victim

var sample = jobs.Spec{Queue: "q", Payload: []byte("null"), MaxAttempts: 3, Timeout: 24 * time.Hour}

// victim submits, one by one and in batches, and appends from many goroutines and writes
// each acknowledged event, and the key of each such batch, to stdout, until it is killed.
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
	for n := 0; ; n++ {
		key := fmt.Sprint(os.Getpid(), "-", n)
		if _, err := s.SubmitBatch(ctx, "batches", newIDs(killBatch), slices.Repeat([]jobs.Spec{sample}, killBatch), jobs.Idempotency{Key: key}); err != nil {
			fmt.Println("error", err)
			return
		}
		fmt.Println("batch", key)
	}
}

func newIDs(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = newID()
	}
	return ids
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
	var batches []string                // keys
	for round := range rounds {
		batches = append(batches, killOne(t, dir, ledger, 200+50*(round%4))...)
		s, err := Open(t.Context(), dir, Options{Serving: true})
		if err != nil {
			t.Fatal(err)
		}
		checkLedger(t, s, ledger)
		checkBatches(t, s, batches)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// killOne runs a victim until it has acknowledged n times, and kills it. It returns the keys
// of the batches that were acknowledged.
func killOne(t *testing.T, dir string, ledger map[string][]string, n int) (batches []string) {
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
		if len(word) == 2 && word[0] == "batch" {
			batches = append(batches, word[1])
			continue
		}
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
	return batches
}

// checkBatches: of each batch all jobs are there or none, and all of one that was
// acknowledged, under its key.
func checkBatches(t *testing.T, s *Store, keys []string) {
	t.Helper()
	u, err := s.Usage(t.Context(), "batches")
	if err != nil || u.Jobs%killBatch != 0 || u.Jobs < int64(len(keys)*killBatch) || len(keys) == 0 {
		t.Errorf("%d jobs of %d acknowledged batches, %v", u.Jobs, len(keys), err)
	}
	for _, key := range keys {
		b, err := s.SubmitBatch(t.Context(), "batches", newIDs(1), []jobs.Spec{sample}, jobs.Idempotency{Key: key})
		if err != nil || !b.Replayed || len(b.IDs) != killBatch {
			t.Errorf("batch %s: %d jobs, replayed %v, %v", key, len(b.IDs), b.Replayed, err)
		}
	}
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

package server_test

import (
	"database/sql"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/server/servertest"
	"github.com/jobcast/jobcast/transport/transporttest"
)

// TestOlderLargeEvents: a log may hold an event that is larger than any made today. It
// is read on every transport, in a frame of today's size, and GET has what it lacks.
func TestOlderLargeEvents(t *testing.T) {
	b := servertest.Start(t, transporttest.Options{})
	log := transporttest.NewLog(b, "acme")
	_, secret := b.Key("acme", auth.KeyOptions{})
	w := log.Begin(t)
	w.Finish(t)
	if err := b.Stop(); err != nil {
		t.Fatal(err)
	}
	result := `{"x":"` + strings.Repeat("<", 65_000) + `"}`
	enlarge(t, b, result)
	b.Start()
	for _, tr := range transporttest.Transports() {
		t.Run(tr.Name, func(t *testing.T) {
			r, err := tr.Open(t.Context(), transporttest.Caller{Dial: b.Dial, Secret: secret}, transporttest.Opening{Job: w.Job})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			var last struct {
				Type eventlog.Type
				Data struct {
					CompletedAt string
					Artifacts   []any
					Result      json.RawMessage
					Omitted     []string
				}
			}
			for !last.Type.Terminal() {
				it, err := r.Next()
				if err != nil {
					t.Fatal(err)
				}
				if it.Event == nil {
					continue
				}
				if err := json.Unmarshal(it.Event, &last); err != nil || len(it.Event) > eventlog.MaxEventBytes {
					t.Fatalf("an event of %d bytes: %v", len(it.Event), err)
				}
			}
			if d := last.Data; d.CompletedAt == "" || d.Artifacts == nil || d.Result != nil || !slices.Equal(d.Omitted, []string{"result"}) {
				t.Errorf("it ends with %+v", last)
			}
		})
	}
	j, err := b.Jobs().Get(t.Context(), "acme", w.Job)
	if err != nil || string(j.Result) != result {
		t.Errorf("the job's result has %d bytes, want %d: %v", len(j.Result), len(result), err)
	}
}

// enlarge gives every completed job in the stopped server's folder a result.
func enlarge(t *testing.T, b *servertest.Server, result string) {
	t.Helper()
	db, err := sql.Open("sqlite3", filepath.Join(b.Dir, "jobcast.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`UPDATE jobs SET result = ?`, []byte(result)); err != nil {
		t.Fatal(err)
	}
	changed, err := db.Exec(`UPDATE events SET tail = CAST(replace(CAST(tail AS TEXT), '"result":{}', ?) AS BLOB) WHERE kind = 4`, `"result":`+result)
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := changed.RowsAffected(); n != 1 {
		t.Fatalf("%d events changed", n)
	}
}

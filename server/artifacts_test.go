package server_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/server/servertest"
	"github.com/jobcast/jobcast/transport/transporttest"
)

// TestArtifactsAfterACrash: a start removes the files that a crash left between
// the disk and the log, and keeps those that jobs have.
func TestArtifactsAfterACrash(t *testing.T) {
	b := servertest.Start(t, transporttest.Options{})
	_, _, err := b.Jobs().Submit(t.Context(), "acme", jobs.Spec{
		Queue: "q", Payload: []byte("null"), MaxAttempts: 1, Timeout: jobs.DefaultTimeout,
	}, jobs.Idempotency{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := b.Jobs().Claim(t.Context(), "acme", jobs.ClaimRequest{Queues: []string{"q"}})
	if err != nil || len(got) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	if _, err := b.Jobs().SaveArtifact(t.Context(), got[0].Lease, "kept", "", -1, strings.NewReader("bytes"), nil); err != nil {
		t.Fatal(err)
	}
	b.Crash()
	folder := filepath.Join(b.Dir, "artifacts")
	for _, name := range []string{"renamedbutnotcommitted", "halfwritten.part"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.Start()
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder has %v, %v", entries, err)
	}
	_, file, err := b.Jobs().OpenArtifact(t.Context(), "acme", got[0].Job.ID, "kept")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if data, err := io.ReadAll(file); err != nil || string(data) != "bytes" {
		t.Errorf("%q, %v", data, err)
	}
}

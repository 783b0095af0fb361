package jobs_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/store/sqlite/sqlitetest"
)

// leased submits a job of the queue q and claims it.
func (r *rig) leased(t *testing.T, client string) jobs.Leased {
	t.Helper()
	r.submit(t, client, queued("q"))
	got, err := r.svc.Claim(t.Context(), client, jobs.ClaimRequest{Queues: []string{"q"}})
	if err != nil || len(got) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	return got[0].Leased
}

// onDisk counts the files of artifacts, drafts included.
func (r *rig) onDisk(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(r.dir, "artifacts"))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func (r *rig) read(t *testing.T, job, name string) string {
	t.Helper()
	a, file, err := r.svc.OpenArtifact(t.Context(), "a", job, name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	data, err := io.ReadAll(file)
	if err != nil || int64(len(data)) != a.Size {
		t.Fatalf("%d bytes of %d, %v", len(data), a.Size, err)
	}
	return string(data)
}

func TestSaveArtifact(t *testing.T) {
	r := openRig(t, sqlitetest.Folder(t), nil)
	l := r.leased(t, "a")
	save := func(name, said, body string) (jobs.Saved, error) {
		return r.svc.SaveArtifact(t.Context(), l.Lease, name, said, -1, iotest.OneByteReader(strings.NewReader(body)), nil)
	}
	for _, c := range [][4]string{
		{"a.txt", "text/plain; charset=UTF-8", "hello", "text/plain; charset=utf-8"},
		{"b", "", "<html>", "text/html; charset=utf-8"},
		{"c", "application/x-evil", "\x89PNG\x0D\x0A\x1A\x0A", "image/png"},
		{"d", "text/plain\r\nX: y", "\x00\x01", "application/octet-stream"},
		{"e", "application/x-www-form-urlencoded", "", "text/plain; charset=utf-8"},
	} {
		s, err := save(c[0], c[1], c[2])
		if err != nil || s.Artifact.ContentType != c[3] || s.Artifact.Size != int64(len(c[2])) ||
			s.Artifact.URL != "/v1/jobs/"+l.Job.ID+"/artifacts/"+c[0] {
			t.Errorf("%v: %+v, %v", c, s.Artifact, err)
		}
		if got := r.read(t, l.Job.ID, c[0]); got != c[2] {
			t.Errorf("%v reads %q", c, got)
		}
	}
	if _, err := save("a.txt", "", "another"); err != nil || r.read(t, l.Job.ID, "a.txt") != "another" {
		t.Errorf("replaced: %v", err)
	}
	if n, err := r.svc.RemoveGarbage(t.Context()); n != 0 || err != nil || r.onDisk(t) != 5 { // the replaced file has gone already
		t.Errorf("removed %d, %v; %d files are left", n, err, r.onDisk(t))
	}
	broken := io.MultiReader(strings.NewReader(strings.Repeat("x", 5000)), iotest.ErrReader(io.ErrUnexpectedEOF))
	if _, err := r.svc.SaveArtifact(t.Context(), l.Lease, "half", "", -1, broken, nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("half a file: %v", err)
	}
	huge := io.LimitReader(zeros{}, jobs.MaxArtifactBytes+1)
	if _, err := r.svc.SaveArtifact(t.Context(), l.Lease, "huge", "", -1, huge, nil); !errors.Is(err, jobs.ErrTooLarge) {
		t.Errorf("too large a file: %v", err)
	}
	for _, name := range []string{"", ".", "..", "a/b", "a\\b", "a b", "ä", strings.Repeat("n", 129), "a\x00"} {
		var invalid *jobs.InvalidError
		if _, err := save(name, "", "x"); !errors.As(err, &invalid) {
			t.Errorf("name %q: %v", name, err)
		}
	}
	if _, _, err := r.svc.End(t.Context(), jobs.End{Lease: l.Lease}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := save("late", "", "x"); !errors.Is(err, jobs.ErrLeaseLost) {
		t.Errorf("after the end: %v", err)
	}
	if r.onDisk(t) != 5 {
		t.Errorf("refused files are left: %d", r.onDisk(t))
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// slowly gives its bytes one at a time, with a pause before each.
type slowly struct {
	left  int
	pause time.Duration
}

func (s *slowly) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	time.Sleep(s.pause)
	s.left--
	p[0] = 'x'
	return 1, nil
}

// A long upload renews the lease it goes on under; one that lost it is cut.
func TestSaveArtifactRenewsTheLease(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.start(t, jobs.ProcessorOptions{}, nil)
		l := r.leased(t, "a")
		if _, err := r.svc.SaveArtifact(t.Context(), l.Lease, "slow", "", -1, &slowly{100, 2 * time.Second}, nil); err != nil {
			t.Errorf("an upload of 200 s: %v", err)
		}
		go func() {
			time.Sleep(30 * time.Second)
			_, _ = r.svc.Cancel(context.Background(), "a", l.Job.ID)
		}()
		start := time.Now()
		_, err := r.svc.SaveArtifact(t.Context(), l.Lease, "cut", "", -1, &slowly{1000, 2 * time.Second}, nil)
		if took := time.Since(start); !errors.Is(err, jobs.ErrLeaseLost) || took > 50*time.Second {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// With its job a file goes from the disk, and an action's artifact is in the
// job's end.
func TestArtifactsOfActions(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		var many error
		r.start(t, jobs.ProcessorOptions{Retention: time.Hour}, func(ctx context.Context, _ string, env jobs.Env) (any, error) {
			if _, err := env.Save(ctx, "report.txt", "", -1, strings.NewReader("r")); err != nil {
				return nil, err
			}
			for i := range 60 {
				if _, err := env.Save(ctx, "n"+strings.Repeat("0", i), "", -1, strings.NewReader("x")); err != nil {
					many = err
					break
				}
			}
			return map[string]string{"body": strings.Repeat("x", 60<<10)}, nil // fits only without the artifacts
		})
		id := r.submit(t, "a", actions("x"))
		settle()
		j := r.get(t, "a", id)
		if j.Status != jobs.Completed || len(j.Artifacts) != 50 || j.Artifacts[0].Name != "report.txt" {
			t.Fatalf("%s with %d artifacts: %s", j.Status, len(j.Artifacts), r.story(id))
		}
		var e *jobs.ActionError
		if !errors.As(many, &e) || e.Class != jobs.ClassArtifact {
			t.Errorf("one too many: %v", many)
		}
		time.Sleep(62 * time.Minute)
		settle()
		if n := r.onDisk(t); n != 0 {
			t.Errorf("%d files outlived their job", n)
		}
	})
}

// unsure is a store of which nobody knows, while doubt is on, whether it has deleted.
type unsure struct {
	jobs.Store
	doubt atomic.Bool
}

func (s *unsure) Prune(ctx context.Context, before time.Time, takes time.Duration) (jobs.Pruned, error) {
	out, err := s.Store.Prune(ctx, before, takes)
	if s.doubt.Load() {
		return jobs.Pruned{}, jobs.ErrUnavailable
	}
	return out, err
}

// What a store calls garbage is removed only if it could just be asked to delete: one
// whose files were replaced does not know.
func TestGarbageStaysAfterAFailedPrune(t *testing.T) {
	dir := sqlitetest.Folder(t)
	synctest.Test(t, func(t *testing.T) {
		store := &unsure{}
		r := openRig(t, dir, func(s jobs.Store) jobs.Store {
			store.Store = s
			return store
		})
		r.start(t, jobs.ProcessorOptions{Retention: time.Hour}, func(ctx context.Context, _ string, env jobs.Env) (any, error) {
			_, err := env.Save(ctx, "report.txt", "", -1, strings.NewReader("r"))
			return nil, err
		})
		r.submit(t, "a", actions("x"))
		settle()
		store.doubt.Store(true)
		time.Sleep(62 * time.Minute)
		settle()
		if n := r.onDisk(t); n != 1 {
			t.Errorf("%d files after prunes that failed", n)
		}
		store.doubt.Store(false)
		time.Sleep(time.Minute)
		settle()
		if n := r.onDisk(t); n != 0 {
			t.Errorf("%d files after a prune", n)
		}
	})
}

package jobs_test

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
)

// What nobody begins fails within a second of its time, and
// that of a job with runAt begins when it has come.
func TestJobsExpire(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p := r.start(t, jobs.ProcessorOptions{}, func(context.Context, string, jobs.Env) (any, error) { return nil, nil })
		spec := queued("q")
		spec.ExpiresIn = 5 * time.Second
		alone := r.submit(t, "a", spec)
		begun := r.submit(t, "b", spec)
		if got, err := r.svc.Claim(t.Context(), "b", jobs.ClaimRequest{Queues: []string{"q"}}); err != nil || len(got) != 1 {
			t.Fatalf("%v, %v", got, err)
		}
		spec.RunAt = time.Now().Add(time.Minute)
		later := r.submit(t, "a", spec)
		own := actions("x")
		own.ExpiresIn = time.Second
		run := r.submit(t, "a", own)
		time.Sleep(4900 * time.Millisecond)
		if got := r.story(alone); got != "created" {
			t.Errorf("before its time: %s", got)
		}
		time.Sleep(time.Second)
		for id, want := range map[string]string{
			alone: "created failed", begun: "created started", later: "created", run: "created started progress completed",
		} {
			if got := r.story(id); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
		if d := r.data(t, alone, eventlog.TypeFailed); len(d) != 1 || d[0]["error"] != "Expired" || d[0]["errorMessage"] != "nobody began the job within 5000 ms" {
			t.Errorf("%v", d)
		}
		time.Sleep(time.Minute)
		if got := r.story(later); got != "created failed" || p.Stats().Expired != 2 {
			t.Errorf("%s, %+v", got, p.Stats())
		}
	})
}

// unread fails the test when it is read.
type unread struct{ *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.Error("a body was read that is refused by its size")
	return 0, io.EOF
}

// A body whose size is known is refused unread, another where the room ends; nothing
// is left of either, and the room is there for the next.
func TestSaveArtifactWithinTheLimit(t *testing.T) {
	const limit = 3 << 20
	r := openBounded(t, t.TempDir(), jobs.Limits{ArtifactsPerClient: limit}, nil)
	l := r.leased(t, "a")
	save := func(name string, size int64, in io.Reader) error {
		_, err := r.svc.SaveArtifact(t.Context(), l.Lease, name, "", size, in, nil)
		return err
	}
	bytes := func(n int64) io.Reader { return io.LimitReader(zeros{}, n) }
	var no *jobs.LimitError
	for range 2 {
		if err := save("f", limit+1, unread{t}); !errors.As(err, &no) || no.What != jobs.LimitArtifacts || no.Asked != limit+1 {
			t.Errorf("too much, announced: %v", err)
		}
		body := &io.LimitedReader{R: zeros{}, N: 50 << 20}
		if err := save("f", -1, body); !errors.As(err, &no) || no.Asked <= limit || no.Asked > limit+64<<10 || body.N < 50<<20-limit-128<<10 {
			t.Errorf("too much, not announced: %v, %d bytes unread", err, body.N)
		}
		if err := save("f", 1<<20, bytes(limit+1)); !errors.As(err, &no) { // more than was announced
			t.Errorf("too much, announced as less: %v", err)
		}
		if n := r.onDisk(t); n != 0 {
			t.Errorf("%d files are left", n)
		}
	}
	if err := save("f", -1, bytes(limit)); err != nil {
		t.Errorf("as much as there is room for: %v", err)
	}
	if err := save("g", -1, bytes(1)); !errors.As(err, &no) || no.Used != limit || no.Max != limit {
		t.Errorf("one byte more: %v", err)
	}
	if err := save("f", -1, bytes(limit)); err != nil {
		t.Errorf("replaced by as much: %v", err)
	}
	if err := errors.Join(save("f", 0, bytes(0)), save("g", limit, bytes(limit))); err != nil || r.onDisk(t) != 2 {
		t.Errorf("after it was replaced by nothing: %v, %d files", err, r.onDisk(t))
	}
	if n, err := r.svc.RemoveGarbage(t.Context()); n != 0 || err != nil {
		t.Errorf("%d replaced files were left to the sweep, %v", n, err)
	}
}

// A replaced file that is still read keeps its bytes on the disk: it stays garbage,
// which counts as storage, and does not keep the sweep from the rest.
func TestReplacedFileInUse(t *testing.T) {
	r := openRig(t, t.TempDir(), nil)
	l := r.leased(t, "a")
	for range 2 {
		if _, err := r.svc.SaveArtifact(t.Context(), l.Lease, "f", "", -1, strings.NewReader("bytes"), nil); err != nil {
			t.Fatal(err)
		}
	}
	_, file, err := r.svc.OpenArtifact(t.Context(), "a", l.Job.ID, "f")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.svc.SaveArtifact(t.Context(), l.Lease, "f", "", -1, strings.NewReader("other"), nil); err != nil {
		t.Fatal(err)
	}
	if n, err := r.svc.RemoveGarbage(t.Context()); n != 0 || err != nil || r.onDisk(t) != 2 {
		t.Errorf("while it is read: removed %d, %v; %d files", n, err, r.onDisk(t))
	}
	if text, err := io.ReadAll(file); err != nil || string(text) != "bytes" {
		t.Errorf("the reader got %q, %v", text, err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := r.svc.RemoveGarbage(t.Context()); n != 1 || err != nil || r.onDisk(t) != 1 {
		t.Errorf("afterwards: removed %d, %v; %d files", n, err, r.onDisk(t))
	}
}

// Uploads at the same time share the room: together they never write more.
func TestUploadsShareTheLimit(t *testing.T) {
	const limit, each, uploads = 4 << 20, 1 << 20, 16
	r := openBounded(t, t.TempDir(), jobs.Limits{ArtifactsPerClient: limit}, nil)
	l := r.leased(t, "a")
	errs := make([]error, uploads)
	var all sync.WaitGroup
	for i := range uploads {
		all.Go(func() {
			size := int64(each)
			if i%2 == 0 {
				size = -1
			}
			_, errs[i] = r.svc.SaveArtifact(t.Context(), l.Lease, string(rune('a'+i)), "", size, io.LimitReader(zeros{}, each), nil)
		})
	}
	all.Wait()
	kept := 0
	for _, err := range errs {
		var no *jobs.LimitError
		if err == nil {
			kept++
		} else if !errors.As(err, &no) {
			t.Error(err)
		}
	}
	u, err := r.store.Usage(t.Context(), "a")
	if err != nil || kept == 0 || u.Artifacts != int64(kept)*each || u.Artifacts > limit || r.onDisk(t) != kept {
		t.Errorf("%d uploads, %+v, %d files, %v", kept, u, r.onDisk(t), err)
	}
	for range limit/each - kept { // what was held for the others is free
		if _, err := r.svc.SaveArtifact(t.Context(), l.Lease, "z"+strings.Repeat("z", kept), "", each, io.LimitReader(zeros{}, each), nil); err != nil {
			t.Error(err)
		}
		kept++
	}
}

// An action that may not save what it has ends its attempt in words, and is not
// tried again where that cannot help.
func TestActionsAtTheLimit(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		limits jobs.Limits
		files  int
		want   string // class and story
	}{
		"artifacts of the client": {jobs.Limits{ArtifactsPerClient: 100}, 1, "ArtifactLimit: created started progress failed"},
		"artifacts of the job":    {jobs.Limits{}, 51, "ArtifactError: created started progress failed"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := openBounded(t, filepath.Join(dir, name), c.limits, nil)
				r.start(t, jobs.ProcessorOptions{}, func(ctx context.Context, _ string, env jobs.Env) (any, error) {
					for i := range c.files {
						if _, err := env.Save(ctx, "n"+strings.Repeat("0", i), "", -1, io.LimitReader(zeros{}, 200)); err != nil {
							return nil, err
						}
					}
					return nil, nil
				})
				id := r.submit(t, "a", actions("x"))
				settle()
				if j := r.get(t, "a", id); j.Error == nil || *j.Error+": "+strings.ReplaceAll(r.story(id), " artifact", "") != c.want {
					t.Errorf("%+v, %s; want %s", j, r.story(id), c.want)
				}
			})
		})
	}
}

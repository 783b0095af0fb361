package jobs_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/store/sqlite/sqlitetest"
)

// distant is a store whose commands take their time, on the way there and back.
type distant struct {
	jobs.Store
	there, back time.Duration
}

func (d *distant) Claim(ctx context.Context, c jobs.Claim) ([]jobs.Leased, error) {
	time.Sleep(d.there)
	defer time.Sleep(d.back)
	return d.Store.Claim(ctx, c)
}

func (d *distant) Append(ctx context.Context, l jobs.Lease, b []jobs.Body) (jobs.Receipt, error) {
	time.Sleep(d.there)
	defer time.Sleep(d.back)
	return d.Store.Append(ctx, l, b)
}

func (d *distant) Settle(ctx context.Context, steps []jobs.Step, next *jobs.Claim) ([]jobs.Settled, []jobs.Leased, error) {
	time.Sleep(d.there)
	defer time.Sleep(d.back)
	return d.Store.Settle(ctx, steps, next)
}

func (d *distant) Extend(ctx context.Context, l jobs.Lease) (jobs.Receipt, error) {
	time.Sleep(d.there)
	defer time.Sleep(d.back)
	return d.Store.Extend(ctx, l)
}

// A holder may rely on its lease until the time that it is told, however long the
// command and its answer were on their way: the store ends the lease no earlier.
func TestLeaseEndsNoEarlierThanTold(t *testing.T) {
	const lease, wait = 30 * time.Second, 7 * time.Second
	for name, store := range map[string]*distant{
		"at once":                 {},
		"the command is late":     {there: 3 * time.Second},
		"the answer is late":      {back: 3 * time.Second},
		"both take a second each": {there: time.Second, back: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			dir := sqlitetest.Folder(t)
			synctest.Test(t, func(t *testing.T) {
				r := openRig(t, dir, func(s jobs.Store) jobs.Store { store.Store = s; return store })
				holds := func(what string, sent, told time.Time) {
					t.Helper()
					if want := sent.Add(lease); !told.Equal(want) {
						t.Errorf("%s: told %v from when the command was sent, want %v", what, told.Sub(sent), want.Sub(sent))
					}
					out, err := r.store.ExpireLeases(t.Context(), 10)
					if end := time.Now().Add(out.Next); err != nil || out.N != 0 || !out.Waits || end.Before(told) {
						t.Errorf("%s: told %v, the store ends it at %v: %+v, %v", what, told, end, out, err)
					}
				}
				time.AfterFunc(wait, func() { r.submit(t, "a", queued("q")) })
				began := time.Now()
				got, err := r.svc.Claim(t.Context(), "a", jobs.ClaimRequest{Queues: []string{"q"}, Wait: time.Minute, Lease: lease})
				if err != nil || len(got) != 1 {
					t.Fatal(got, err)
				}
				holds("claim", began.Add(max(wait, store.there+store.back)), got[0].ExpiresAt)

				time.Sleep(time.Second)
				sent := time.Now()
				renewed, err := r.svc.Extend(t.Context(), got[0].Lease)
				if err != nil {
					t.Fatal(err)
				}
				holds("extend", sent, renewed.ExpiresAt)
				time.Sleep(time.Second)
				sent = time.Now()
				if renewed, err = r.svc.Log(t.Context(), got[0].Lease, []jobs.LogLine{{Line: "x"}}); err != nil {
					t.Fatal(err)
				}
				holds("log", sent, renewed.ExpiresAt)

				r.submit(t, "a", queued("q"))
				sent = time.Now()
				_, got, err = r.svc.End(t.Context(), jobs.End{Lease: got[0].Lease}, &jobs.NextClaim{Queues: []string{"q"}, Lease: lease})
				if err != nil || len(got) != 1 {
					t.Fatal(got, err)
				}
				holds("end and claim", sent, got[0].ExpiresAt)
			})
		})
	}
}

package engineio_test

import (
	"maps"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobcast/jobcast/transport/engineio"
)

// TestTicksComeWhenTheyAreDue: of all the times that sessions set, the last one of each
// counts, to the moment, whatever the others do.
func TestTicksComeWhenTheyAreDue(t *testing.T) {
	for seed := range uint64(20) {
		inBubble(t, engineio.Options{PingInterval: time.Hour}, func(t *testing.T, r *rig) {
			random := rand.New(rand.NewPCG(seed, 0)) // a plan that can be repeated
			ticked := make(map[int]time.Time)
			var sessions []*engineio.Session
			for i := range 40 {
				r.prepare = func(a *app) {
					sessions = append(sessions, a.session)
					a.onTick = func(now time.Time) error {
						r.mu.Lock()
						defer r.mu.Unlock()
						ticked[i] = now
						return nil
					}
				}
				r.Open("")
			}
			want := make(map[int]time.Time)
			begun := time.Now().Truncate(time.Millisecond)
			for range 400 {
				i := random.IntN(len(sessions))
				want[i] = begun.Add(time.Duration(1+random.IntN(5000)) * time.Millisecond)
				sessions[i].TickAt(want[i])
			}
			var wrong int
			for range 5001 {
				time.Sleep(time.Millisecond)
				synctest.Wait()
				r.mu.Lock()
				for i, at := range want {
					if _, ok := ticked[i]; ok == time.Now().Before(at) {
						wrong++
					}
				}
				r.mu.Unlock()
			}
			if !maps.EqualFunc(ticked, want, time.Time.Equal) || wrong > 0 {
				t.Errorf("seed %d: %d looks found a tick too early or too late; %d of %d ticked", seed, wrong, len(ticked), len(want))
			}
		})
	}
}

// TestNothingIsDueForSessionsThatAreGone: however a session ends, the clock forgets it
// when the server does.
func TestNothingIsDueForSessionsThatAreGone(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		for range 5 {
			r.Open("").Sent("1") // closed by the peer
			r.Open("")           // which is never heard of again
			r.Open("").Poll().Abort()
			p := r.Open("")
			r.app(p.SID).session.Close(errWanted) // and the peer fetches that
			p.Get()
			r.app(r.Open("").SID).session.Close(errWanted) // and it does not
			r.app(r.Open("").SID).session.Fail(errWanted)
			ws, _ := r.OpenWebSocket("")
			ws.Drop()
			ws, _ = r.OpenWebSocket("")
			ws.Send("1")
			r.Open("").Probe().Drop()
		}
		synctest.Wait()
		if n, due := r.srv.Len(), r.srv.Due(); n == 0 || n != due {
			t.Errorf("of %d sessions %d wait for their tick", n, due)
		}
		time.Sleep(time.Minute)
		if n, due := r.srv.Len(), r.srv.Due(); n != 0 || due != 0 {
			t.Errorf("%d sessions are left, and %d are due", n, due)
		}
	})
}

package sqlite

import (
	"errors"
	"fmt"
	"testing"

	"github.com/jobcast/jobcast/jobs"
)

// What a step wanted to add is not counted if its browser state finds no room: nothing of it
// is added.
func TestRefusedStateTakesNoRoom(t *testing.T) {
	s := openServing(t, t.TempDir(), Options{})
	l := leased(t, s, "a")
	state := func(name string) jobs.Sealed {
		return jobs.Sealed{Kind: jobs.SealedState, Client: "a", Name: name, KeyID: []byte("key"), Data: []byte("data")}
	}
	for i := range jobs.MaxStates {
		if _, _, err := s.PutSealed(t.Context(), state(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	more := state("more")
	step := jobs.Step{Lease: l.Lease, Outcome: jobs.AttemptCompleted, State: &more, Events: []jobs.Body{jobs.Logged("info", "line")}}
	grown, err := do(t.Context(), s.committer, 0, func(b *batch) (int64, error) {
		_, _, err := b.settle(step, jobs.BriefBytes(1))
		if no := new(jobs.LimitError); !errors.As(err, &no) {
			return 0, fmt.Errorf("one state too many: %w", err)
		}
		return b.grown, nil
	})
	if err != nil || grown != 0 {
		t.Errorf("%d bytes are counted, %v", grown, err)
	}
}

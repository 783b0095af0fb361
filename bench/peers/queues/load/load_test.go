package load

import (
	"context"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// What a job tells too often, too seldom, too late or to nobody is counted.
func TestTally(t *testing.T) {
	first := time.Now()
	for name, c := range map[string]struct {
		tell          func(*Tally)
		ended         int
		lost, doubled int
	}{
		"as it should": {func(t *Tally) { t.Told("a", Begun); t.submitted(first, []string{"a"}); t.Told("a", Ended) }, 1, 0, 0},
		"begun twice": {func(t *Tally) {
			t.submitted(first, []string{"a"})
			t.Told("a", Begun)
			t.Told("a", Begun)
			t.Told("a", Ended)
		}, 1, 0, 1},
		"ended twice": {func(t *Tally) {
			t.submitted(first, []string{"a"})
			t.Told("a", Begun)
			t.Told("a", Ended)
			t.Told("a", Ended)
		}, 1, 0, 1},
		"not begun":    {func(t *Tally) { t.submitted(first, []string{"a"}); t.Told("a", Ended) }, 1, 1, 0},
		"not ended":    {func(t *Tally) { t.submitted(first, []string{"a"}); t.Told("a", Begun) }, 0, 1, 0},
		"failed":       {func(t *Tally) { t.submitted(first, []string{"a"}); t.Told("a", Begun); t.Told("a", Failed) }, 0, 1, 1},
		"nobody's":     {func(t *Tally) { t.Told("a", Begun); t.Told("a", Ended) }, 0, 0, 1},
		"one id twice": {func(t *Tally) { t.submitted(first, []string{"a", "a"}); t.Told("a", Begun); t.Told("a", Ended) }, 1, 0, 1},
	} {
		tally := NewTally()
		c.tell(tally)
		if r := tally.result(first); r.Ended != c.ended || r.Lost != c.lost || r.Doubled != c.doubled {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// What a worker tells arrives at the process that listens.
func TestTell(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	socket := filepath.Join(t.TempDir(), "tell.sock")
	teller, err := NewTeller(ctx, socket)
	if err != nil {
		t.Fatal(err)
	}
	tally := NewTally()
	if err := Listen(ctx, socket, tally); err != nil {
		t.Fatal(err)
	}
	const jobs = 500
	for i := range jobs {
		id := strconv.Itoa(i)
		tally.submitted(time.Now(), []string{id})
		teller.Told(id, Begun)
		teller.Told(id, Ended)
	}
	if err := tally.settle(ctx); err != nil {
		t.Fatal(err)
	}
	if r := tally.result(time.Time{}); r.Ended != jobs || r.Lost+r.Doubled > 0 {
		t.Errorf("%+v", r)
	}
}

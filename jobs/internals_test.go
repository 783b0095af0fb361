package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/jobcast/jobcast/eventlog"
)

func TestBackoff(t *testing.T) {
	for n, base := range map[int]time.Duration{
		0: time.Second, 1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 9: 256 * time.Second,
		10: 512 * time.Second, 11: 10 * time.Minute, 25: 10 * time.Minute, 1 << 30: 10 * time.Minute,
	} {
		low, high := 100*time.Hour, time.Duration(0)
		for range 2000 {
			d := NewBackoff(0).After(n)
			low, high = min(low, d), max(high, d)
		}
		if low < base/2 || high > min(10*time.Minute, base*3/2) {
			t.Errorf("attempt %d: %v to %v", n, low, high)
		}
		if low > base*6/10 || high < min(10*time.Minute, base*14/10) {
			t.Errorf("attempt %d: hardly any jitter, %v to %v", n, low, high)
		}
	}
}

func TestInsist(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, final := range []error{nil, ErrLeaseLost, ErrClosed, ErrNotFound, &ConflictError{}, &InvalidError{}} {
			n := 0
			err := insist(t.Context(), func() error {
				if n++; n < 50 {
					return ErrUnavailable
				}
				return final
			})
			if !errors.Is(err, final) || n != 50 {
				t.Errorf("%v after %d calls, want %v", err, n, final)
			}
		}
		why := errors.New("why")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Hour, why)
		defer cancel()
		start := time.Now()
		if err := insist(ctx, func() error { return ErrStorageFull }); !errors.Is(err, why) || time.Since(start) != time.Hour {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// text shortens itself by cutting.
type text string

func (s text) Shorten(limit int) any { return s[:max(0, limit-2)] }

func TestActionsResultFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.IntRange(0, 5000), 1, MaxActions).Draw(t, "sizes")
		limit := rapid.IntRange(6000, MaxResultBytes-maxDataBytes).Draw(t, "limit")
		var d data
		for i := range rapid.IntRange(0, 40).Draw(t, "data") {
			if d.set(strings.Repeat("k", i%30), json.RawMessage(`"`+strings.Repeat("<", i*60)+`"`)) != nil {
				break
			}
		}
		limit += d.size + len(`,"data":{}`)
		results, whole := make([]actionResult, len(sizes)), len(`{"actions":[],"data":{}}`)+d.size
		for i, n := range sizes {
			var v any = text(strings.Repeat("x", n))
			if i%3 == 0 {
				v = map[string]string{"body": strings.Repeat("y", n)} // cannot shorten itself
			}
			raw, err := encode(v)
			if err != nil {
				t.Fatal(err)
			}
			results[i] = actionResult{"kind", v, raw}
			whole += len(raw) + 1
		}
		out := actionsResult(results, d.text(), limit)
		if len(out) > limit {
			t.Fatalf("%d bytes at a limit of %d", len(out), limit)
		}
		var got struct {
			Actions []json.RawMessage
			Data    map[string]json.RawMessage
		}
		if err := json.Unmarshal(out, &got); err != nil || len(got.Actions) != len(sizes) {
			t.Fatalf("%d of %d actions, %v", len(got.Actions), len(sizes), err)
		}
		if !maps.EqualFunc(got.Data, d.values, func(a, b json.RawMessage) bool { return string(a) == string(b) }) || d.size > maxDataBytes {
			t.Fatalf("%d of %d members of data, %d bytes", len(got.Data), len(d.values), d.size)
		}
		for i := range got.Actions {
			if whole <= limit && string(got.Actions[i]) != string(results[i].encoded) {
				t.Fatalf("action %d was cut without need", i)
			}
		}
	})
}

func TestEventsFit(t *testing.T) {
	wide := func(n int) string { return strings.Repeat("\x00", n) } // six bytes each on the wire
	now, result := time.Now(), json.RawMessage(`{"x":"`+strings.Repeat("<", MaxResultBytes-8)+`"}`)
	for _, b := range []Body{
		CompletedWith(now, nil, result),
		FailedWith(now, wide(MaxErrorClassBytes), wide(MaxErrorMessageBytes)),
		Retrying(wide(MaxErrorClassBytes), wide(MaxErrorMessageBytes), 25, now),
		Progressed(100.0/3, wide(MaxMessageBytes), wide(MaxStepBytes)),
		Logged("error", wide(MaxLogLineBytes)),
	} {
		e := AppendJSON(nil, "abcdefghijklmnop-9223372036854775807", AppendTail(nil, b, strings.Repeat("j", 36), now))
		if len(e) > eventlog.MaxEventBytes {
			t.Errorf("%s has %d bytes", b.Type, len(e))
		}
		if err := CheckJSON(e, MaxJSONDepth+4); err != nil {
			t.Errorf("%s: %v", b.Type, err)
		}
	}
}

func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, start := newDeadline(), time.Now()
		expect := func(want time.Duration) {
			t.Helper()
			if !d.wait(t.Context(), 10*time.Millisecond, time.Minute) || time.Since(start) != want {
				t.Errorf("passed after %v, want %v", time.Since(start), want)
			}
			start = time.Now()
		}
		expect(time.Minute) // nothing is due
		d.within(5 * time.Second)
		d.within(9 * time.Second)
		expect(5 * time.Second)
		expect(time.Minute) // it passes once
		d.within(-time.Hour)
		expect(10 * time.Millisecond) // no spinning
		d.within(30 * time.Second)
		time.AfterFunc(3*time.Second, func() { d.within(time.Second) })
		expect(4 * time.Second) // moved while it was waited for
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if d.wait(ctx, 0, time.Minute) {
			t.Error("passed although its context had ended")
		}
	})
}

func TestNotifier(t *testing.T) {
	var n notifier
	q, stopQ := n.listen(Source{"a", "q"}, Source{"a", "p"})
	all, stopAll := n.listen(Source{})
	notified := func(ch <-chan struct{}) bool {
		select {
		case <-ch:
			return true
		default:
			return false
		}
	}
	for _, c := range []struct {
		notify func()
		q, all bool
	}{
		{func() { n.notify(Source{"a", "q"}) }, true, false},
		{func() { n.notify(Source{"a", "p"}); n.notify(Source{"a", "q"}) }, true, false},
		{func() { n.notify(Source{"b", "q"}) }, false, false},
		{func() { n.notify(Source{}) }, false, true},
		{n.notifyAll, true, true},
	} {
		c.notify()
		if gotQ, gotAll := notified(q), notified(all); gotQ != c.q || gotAll != c.all || notified(q) {
			t.Errorf("notified %v and %v, want %v and %v", gotQ, gotAll, c.q, c.all)
		}
	}
	stopQ()
	stopAll()
	if n.notifyAll(); notified(q) || len(n.waiters) != 0 {
		t.Errorf("%d sources are left", len(n.waiters))
	}
}

func TestDecodeObject(t *testing.T) {
	type inner struct {
		A int `json:"a"`
	}
	type outer struct {
		Name  string            `json:"name"`
		Max   *int              `json:"max"`
		On    bool              `json:"on"`
		Rate  float64           `json:"rate"`
		Until *Time             `json:"until"`
		In    *inner            `json:"in"`
		List  []inner           `json:"list"`
		Map   map[string]string `json:"map"`
		Raw   json.RawMessage   `json:"raw"`
	}
	var got outer
	seven := 7
	until := Time{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	err := DecodeObject([]byte(` {"name":"n","max":7,"on":true,"rate":1e1,"until":"2026-01-01T00:00:00Z","in":{"a":1},`+
		`"list":[{"a":2},{}],"map":{"k":"v"},"raw":null} `), &got)
	want := outer{"n", &seven, true, 10, &until, &inner{1}, []inner{{2}, {}}, map[string]string{"k": "v"}, json.RawMessage("null")}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v; %s", err, d)
	}
	got = outer{Max: &seven}
	if err := DecodeObject([]byte(`{"name":null,"max":null,"in":null,"list":null,"map":null}`), &got); err != nil || got.Max != &seven {
		t.Errorf("null is not absent: %v, %+v", err, got)
	}
	var invalid *InvalidError
	err = DecodeObject([]byte(`{"NAME":1,"name":1,"max":1.5,"on":"x","rate":"1","until":"x","in":{"A":1},"list":[{"a":"x"},7],"map":{"a/b":1}}`), &outer{})
	if !errors.As(err, &invalid) {
		t.Fatal(err)
	}
	want2 := []FieldError{
		{"/name", "must be a string"}, {"/max", "must be an integer"}, {"/on", "must be true or false"}, {"/rate", "must be a number"},
		{"/until", "must be an RFC 3339 time"}, {"/in/A", "unknown member"}, {"/list/0/a", "must be an integer"},
		{"/list/1", "must be an object"}, {"/map/a~1b", "must be a string"}, {"/NAME", "unknown member"},
	}
	if d := cmp.Diff(want2, invalid.Fields); d != "" {
		t.Error(d)
	}
}

func TestDecodeOneOrMany(t *testing.T) {
	type item struct {
		A int `json:"a"`
	}
	for body, want := range map[string]int{`{"a":1}`: 1, ` [{"a":1},{"a":2}]`: 2, `[]`: 0, `[{},{},{},{}]`: 0, `[{"b":1}]`: 0, `7`: 0, `null`: 0} {
		got, err := DecodeOneOrMany[item]([]byte(body), 3)
		var invalid *InvalidError
		if want == 0 && !errors.As(err, &invalid) || want > 0 && (err != nil || len(got) != want || got[0].A != 1) {
			t.Errorf("%s: %v, %v", body, got, err)
		}
	}
	var m *MalformedError
	if _, err := DecodeOneOrMany[item]([]byte(`[{}`), 3); !errors.As(err, &m) {
		t.Error(err)
	}
}

// Once claiming has stopped no runner is taken for a new job, although some are free,
// and they go to attempts that were parked.
func TestRunnersAreNotTakenAfterTheStop(t *testing.T) {
	r := newRunners(2, 2, func() {})
	stop := make(chan struct{})
	close(stop)
	for range 2 {
		if n, _ := r.take(stop, MaxClaim); n != 0 {
			t.Fatalf("%d runners were taken", n)
		}
		select {
		case <-r.queue("a").ready:
		default:
			t.Error("an attempt that goes on gets none")
		}
	}
}

// Between two claims that found a job for each runner, the next one has its turn, although
// attempts that go on wait and nobody has asked for it yet.
func TestClaimsKeepTheirTurn(t *testing.T) {
	r := newRunners(1, 1, func() {})
	n, _ := r.take(nil, MaxClaim)
	one, two := r.queue("a"), r.queue("b")
	r.gave(n, []Leased{{Lease: Lease{Client: "c"}}})
	r.release("c")
	<-one.ready
	r.release("a")
	select {
	case <-two.ready:
		t.Error("an attempt that goes on has the turn of the claim")
	default:
	}
	if n, _ := r.take(nil, MaxClaim); n != 1 {
		t.Errorf("%d runners for the claim", n)
	}
}

// Whatever happens in whatever order, no runner is lost or given twice, and no
// client holds more than its share.
func TestRunnersAreSharedOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &runnersModel{total: rapid.IntRange(1, 9).Draw(t, "runners"), held: map[string]int{}}
		m.share = rapid.IntRange(1, m.total).Draw(t, "share")
		m.r = newRunners(m.total, m.share, func() {})
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			rapid.SampledFrom(m.possible()).Draw(t, "step").do(m, t)
			m.check(t)
		}
	})
}

// runnersModel is what runners should have given out.
type runnersModel struct {
	r            *runners
	total, share int
	held         map[string]int // by those that may give one back; none is zero
	places       []*place       // that wait
}

// runnersStep is something that may happen to runners.
type runnersStep struct {
	name string
	do   func(m *runnersModel, t *rapid.T)
}

// String is what rapid prints of a step.
func (s runnersStep) String() string { return s.name }

// possible returns the steps that can be taken now: a claim that would wait cannot.
func (m *runnersModel) possible() []runnersStep {
	steps := []runnersStep{{"queue", (*runnersModel).queue}}
	if m.r.free > 0 && (m.r.next() < 0 || m.r.claimNow) {
		steps = append(steps, runnersStep{"claim", (*runnersModel).claim})
	}
	if len(m.held) > 0 {
		steps = append(steps, runnersStep{"release", (*runnersModel).release})
	}
	if len(m.places) > 0 {
		steps = append(steps, runnersStep{"leave", (*runnersModel).leave})
	}
	return steps
}

func drawClient(t *rapid.T) string {
	return rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "client")
}

func (m *runnersModel) queue(t *rapid.T) { m.places = append(m.places, m.r.queue(drawClient(t))) }

func (m *runnersModel) claim(t *rapid.T) {
	n, seen := m.r.take(nil, MaxClaim)
	var got []Leased
	for range rapid.IntRange(0, n).Draw(t, "found") {
		if c := drawClient(t); seen[c] < m.share {
			seen[c]++
			m.held[c]++
			got = append(got, Leased{Lease: Lease{Client: c}})
		}
	}
	m.r.gave(n, got)
}

func (m *runnersModel) release(t *rapid.T) {
	c := rapid.SampledFrom(slices.Sorted(maps.Keys(m.held))).Draw(t, "holder")
	if m.held[c]--; m.held[c] == 0 {
		delete(m.held, c)
	}
	m.r.release(c)
}

func (m *runnersModel) leave(t *rapid.T) {
	i := rapid.IntRange(0, len(m.places)-1).Draw(t, "place")
	m.r.leave(m.places[i])
	m.places = slices.Delete(m.places, i, i+1)
}

// check takes notice of who has got a runner, and counts all.
func (m *runnersModel) check(t *rapid.T) {
	m.places = slices.DeleteFunc(m.places, func(p *place) bool {
		select {
		case <-p.ready:
			m.held[p.client]++
			return true
		default:
			return false
		}
	})
	sum := m.r.free
	for c, n := range m.r.held {
		if sum += n; n > m.share || n != m.held[c] {
			t.Fatalf("%s holds %d, should be %d, share %d", c, n, m.held[c], m.share)
		}
	}
	if sum != m.total {
		t.Fatalf("%d of %d runners are left", sum, m.total)
	}
	for _, p := range m.places {
		if m.r.free > 0 && m.r.held[p.client] < m.share && !m.r.claimWaits {
			t.Fatalf("%s waits though %d runners are free", p.client, m.r.free)
		}
	}
}

// TestProgressed: the JSON of a progress is that of the encoder, whichever way it is made.
func TestProgressed(t *testing.T) {
	texts := []string{"", "step 1 of 2", `a "b"`, `a\b`, "line\nline", "\x7f", "é", "<&>", "\u2028", "\xff"}
	for _, progress := range []float64{0, 7, 100, 33.5, 1e-9} {
		for _, message := range texts {
			for _, step := range texts {
				want := body(eventlog.TypeProgress, progressData{progress, message, step})
				if got := Progressed(progress, message, step); got.Type != want.Type || string(got.Data) != string(want.Data) {
					t.Errorf("progress %v, %q, %q: %s, want %s", progress, message, step, got.Data, want.Data)
				}
			}
		}
	}
}

package hub

import (
	"testing"

	"github.com/jobcast/jobcast/eventlog"
)

var built int // how often counted was built

// counted is registered as transports do it: before there are events.
var counted = NewFraming(func(e *Event) []byte {
	built++
	return []byte("<" + e.ID + ">")
})

// TestFramingIsBuiltOnce: all subscriptions that an event is given to share its bytes.
func TestFramingIsBuiltOnce(t *testing.T) {
	m := &memory{}
	h := New(m)
	defer h.Close()
	readers := []*reader{newReader(h), newReader(h)}
	for _, r := range readers {
		join(t, r, "", Start{From: FromNow})
	}
	built = 0
	h.Publish([]eventlog.Event{m.commit("a", eventlog.TypeLog)})
	var forms [][]byte
	for _, r := range readers {
		for _, it := range r.pull(10, 1<<20) {
			if it.Event != nil {
				forms = append(forms, counted.Of(it.Event))
			}
		}
	}
	if len(forms) != 2 || built != 1 || &forms[0][0] != &forms[1][0] || string(forms[0]) != "<e-1>" {
		t.Errorf("%q were built %d times for two readers", forms, built)
	}
}

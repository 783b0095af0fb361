package socketio_test

import (
	"strings"
	"testing"
	"testing/synctest"
)

// What makes the server end the whole connection.
func TestWhatEndsAConnection(t *testing.T) {
	for name, packets := range map[string][]string{
		"event first":               {`42["say"]`},
		"disconnect first":          {"41"},
		"ack first":                 {"431[]"},
		"array as payload":          {"40[]"},
		"text as payload":           {`40"abc"`},
		"null as payload":           {"40null"},
		"bad payload":               {`40{"a":}`},
		"payload and more":          {"40{}{}"},
		"bad payload for a custom":  {`40/custom,{`},
		"name too long":             {"40/" + strings.Repeat("n", 128) + ","},
		"second connect":            {"40", "40"},
		"second connect, custom":    {"40/custom,", "40/custom,{}"},
		"event elsewhere":           {"40", `42/custom,["say"]`},
		"event after a refusal":     {"40/closed,", `42/closed,["say"]`},
		"ack elsewhere":             {"40", "43/custom,1[]"},
		"disconnect elsewhere":      {"40", "41/custom,"},
		"binary event elsewhere":    {"40", `451-/custom,["say",{"_placeholder":true,"num":0}]`},
		"event after leaving":       {"40", "41", `42["say"]`},
		"leaving twice":             {"40", "41", "41"},
		"leaving with a payload":    {"40", `41["why"]`},
		"connect error":             {"40", `44{"message":"no"}`},
		"connect error of a custom": {"40/custom,", `44/custom,{"message":"no"}`},
		"unknown type":              {"40", "47"},
		"a letter as type":          {"40", "4abc"},
		"empty message":             {"40", "4"},
		"event without payload":     {"40", "42"},
		"event with an object":      {"40", `42{"a":1}`},
		"event with a string":       {"40", `42"say"`},
		"event of nothing":          {"40", "42[]"},
		"name null":                 {"40", "42[null]"},
		"name true":                 {"40", "42[true]"},
		"name object":               {"40", "42[{}]"},
		"name array":                {"40", `42[["say"]]`},
		"bad JSON":                  {"40", `42["say",]`},
		"unclosed JSON":             {"40", `42["say"`},
		"trailing garbage":          {"40", `42["say"]x`},
		"two payloads":              {"40", `42["say"]["say"]`},
		"reserved connect":          {"40", `42["connect"]`},
		"reserved connect_error":    {"40", `42["connect_error"]`},
		"reserved disconnect":       {"40", `42["disconnect"]`},
		"reserved disconnecting":    {"40", `42["disconnecting"]`},
		"reserved newListener":      {"40", `42["newListener"]`},
		"reserved removeListener":   {"40", `42["removeListener"]`},
		"reserved in disguise":      {"40", `42["\u0063onnect"]`},
		"id negative":               {"40", `42-1["say"]`},
		"id fractional":             {"40", `421.5["say"]`},
		"id with an exponent":       {"40", `421e3["say"]`},
		"id of letters":             {"40", `42abc["say"]`},
		"id too big":                {"40", `429999999999999999["say"]`},
		"id enormous":               {"40", "42" + strings.Repeat("9", 5000) + `["say"]`},
		"ack without id":            {"40", "43[]"},
		"ack without payload":       {"40", "431"},
		"ack with an object":        {"40", "431{}"},
		"the application's error":   {"40", `42["fail"]`},
		"no refusal but an error":   {"40/broken,"},
		"binary out of the blue":    {"40", "binary"},
		"binary before any connect": {"binary"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, options{}, func(t *testing.T, r *rig) {
				neighbour := r.connected()
				c := r.connection()
				for _, p := range packets {
					if p == "binary" {
						c.SendBinary([]byte("abc"))
					} else {
						c.Send(p)
					}
				}
				for { // answers to what was right come before
					op, data, err := c.Next()
					if err != nil {
						t.Fatalf("no close frame: %v", err)
					}
					if op == 8 {
						break
					}
					if text := string(data); !strings.HasPrefix(text, "40") && !strings.HasPrefix(text, "44/closed") {
						t.Errorf("answered %q", text)
					}
				}
				synctest.Wait()
				neighbour.talks("")
				if n := r.engine.Len(); n != 1 {
					t.Errorf("%d sessions", n)
				}
			})
		})
	}
}

// What is JSON and odd ends nothing: the rest of it is read as the official server
// reads it.
func TestOddJSON(t *testing.T) {
	deep := strings.Repeat("[", 15_000) + strings.Repeat("]", 15_000)
	inBubble(t, options{}, func(t *testing.T, r *rig) {
		for _, auth := range []string{`{"name":"\ud83d"}`, `{"a":1,"a":2}`, `{"a":` + deep + `}`, `{"a":1e999}`} {
			c := r.connection()
			c.joins("/custom,")
			c.Send("40" + auth)
			c.joined("")
			if got := r.last().auth; got != auth {
				t.Errorf("CONNECT with %.30s was told %.30s", auth, got)
			}
			for _, packet := range []string{
				`["note","\ud83d"]`, `["\ud83d"]`, `["note",{"a":1,"a":2}]`, `["note",` + deep + `]`, `[1e999]`, `["note",1e999]`,
			} {
				c.Send("42/custom,"+packet, "43/custom,1"+packet, `451-/custom,["note",{"_placeholder":true,"num":0},`+packet+`]`)
				c.SendBinary([]byte("abc"))
			}
			c.talks("/custom,")
			c.talks("")
		}
		p := r.Open("")
		p.Post("40", "42[\"say\",\"\xff\xfe\"]").Is(t, 200, "ok") // on a WebSocket the frame itself is broken
		if got := p.Collect(2); got[1] != "42[\"said\",\"\uFFFD\"]" {
			t.Errorf("got %q", got)
		}
	})
}

// A bad packet that came by POST ends the session with what is right of its answers.
func TestABadPacketOnPolling(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, r *rig) {
		p := r.Open("")
		p.Post("40", "4abc", `42["note"]`).Is(t, 400, "")
		p.Unknown()
		synctest.Wait()
		if events := r.last().events; len(events) != 0 {
			t.Errorf("events %q", events)
		}
	})
}

package socketio_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/jobcast/jobcast/transport/socketio"
)

func TestEventsAndAcks(t *testing.T) {
	for name, tc := range map[string]struct{ send, want string }{
		"no argument":          {`["say"]`, `42["said"]`},
		"arguments":            {`["say",1,"2",{"3":[true,null]}]`, `42["said",1,"2",{"3":[true,null]}]`},
		"spaces":               {`[ "say" , 1 ]`, `42["said",1]`},
		"not ASCII":            {`["say","h\u00e9 é"]`, `42["said","h\u00e9 é"]`},
		"a placeholder":        {`["say",{"_placeholder":true,"num":0}]`, `42["said",{"_placeholder":true,"num":0}]`}, // ordinary data in a plain event
		"ack":                  {`7["ask",1,{"a":"b"}]`, `437[1,{"a":"b"}]`},
		"ack of nothing":       {`8["ask"]`, `438[]`},
		"ack with id 0":        {`0["ask",1]`, `430[1]`},
		"ack with zeros":       {`007["ask"]`, `437[]`},
		"ack with a big id":    {`999999999999999["ask"]`, `43999999999999999[]`},
		"an event with an id":  {`5["say",1]`, `42["said",1]`},
		"deep":                 {`["say",` + strings.Repeat("[", 60) + strings.Repeat("]", 60) + `]`, `42["said",` + strings.Repeat("[", 60) + strings.Repeat("]", 60) + `]`},
		"words of other times": {`["say","connect","disconnect"]`, `42["said","connect","disconnect"]`},
	} {
		for _, prefix := range []string{"", "/custom,"} {
			t.Run(name+" "+prefix, func(t *testing.T) {
				inBubble(t, options{}, func(t *testing.T, r *rig) {
					c := r.connection()
					c.joins(prefix)
					c.Send("42" + prefix + tc.send)
					c.Gets(tc.want[:2] + prefix + tc.want[2:])
				})
			})
		}
	}
}

// What nobody handles is answered with nothing at all.
func TestSilence(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, r *rig) {
		c := r.connected()
		c.Send(`421["unknown"]`, `42["ping"]`, `42["pong"]`, `42["error"]`, `42["message"]`, `42["connected"]`, `42[1,"a number"]`, `42[-1.5]`, `42[""]`)
		c.Send("431[]", `430["x"]`, "43999[]") // acknowledgements of what was never asked
		c.talks("")
		want := []string{"unknown", "ping", "pong", "error", "message", "connected", "1", "-1.5", "", "say"}
		if p := r.last(); !slices.Equal(p.events, want) {
			t.Errorf("events %q", p.events)
		}
	})
}

func TestServerEvents(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, r *rig) {
		c := r.connection()
		c.joins("/custom,")
		s := r.last().socket
		if err := s.Emit("news", 1, map[string]string{"a": "b"}, nil); err != nil {
			t.Fatal(err)
		}
		if err := s.Ack(&socketio.Event{ID: 3}); err != nil {
			t.Fatal(err)
		}
		if err := s.Ack(&socketio.Event{ID: 0}, "x", 2); err != nil {
			t.Fatal(err)
		}
		c.Gets(`42/custom,["news",1,{"a":"b"},null]`, `43/custom,3[]`, `43/custom,0["x",2]`)
		if err := s.Emit("bad", func() {}); err == nil {
			t.Error("a function was encoded")
		}
		c.talks("/custom,")
	})
}

// A peer that asks and does not read is cut before it fills the memory.
func TestAnswersThatAreNotRead(t *testing.T) {
	for name, packet := range map[string]string{"of a socket": `42["say"]`, "of none": "40/random,"} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, options{}, func(t *testing.T, r *rig) {
				p := r.Open("")
				p.Sent("40")
				for range 400 { // nothing is fetched
					if reply := p.Post(packet); reply.Status != 200 {
						p.Unknown()
						return
					}
				}
				t.Error("all was taken")
			})
		})
	}
}

const hole = `{"_placeholder":true,"num":`

func holes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,%s%d}`, hole, i)
	}
	return b.String()
}

func TestBinary(t *testing.T) {
	for _, prefix := range []string{"", "/custom,"} {
		for name, n := range map[string]int{"one": 1, "two": 2, "ten": 10} {
			t.Run(name+" "+prefix, func(t *testing.T) {
				inBubble(t, options{}, func(t *testing.T, r *rig) {
					c := r.connection()
					c.joins(prefix)
					for _, tc := range []struct{ send, want string }{
						{fmt.Sprintf(`45%d-%s["say"%s]`, n, prefix, holes(n)), fmt.Sprintf(`45%d-%s["said"%s]`, n, prefix, holes(n))},
						{fmt.Sprintf(`45%d-%s12["ask"%s]`, n, prefix, holes(n)), fmt.Sprintf(`46%d-%s12[%s]`, n, prefix, holes(n)[1:])},
					} {
						c.Send(tc.send)
						for i := range n {
							c.Send("3", "6") // no messages: they may stand in between
							c.Frame(0x89, nil)
							if op, _, err := c.Next(); op != 10 {
								t.Fatalf("opcode %d %v", op, err)
							}
							c.SendBinary([]byte{byte(i), 0xff})
						}
						c.Gets(tc.want)
						for i := range n {
							c.GetsBinary(string([]byte{byte(i), 0xff}))
						}
					}
					c.talks(prefix)
				})
			})
		}
	}
}

func TestBinaryOnPolling(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, r *rig) {
		p := r.Open("")
		p.Sent("40")
		p.Get()
		p.Sent(`452-["say",`+hole+`1},`+hole+`0}]`, "bAQ==")
		poll := p.Poll()
		synctest.Wait()
		if poll.Answered() {
			t.Fatalf("answered %q before the last attachment", poll.Reply().Body)
		}
		p.Sent("b" + base64.StdEncoding.EncodeToString([]byte("second")))
		poll.Reply().Is(t, 200, strings.Join([]string{`452-["said",` + hole + `1},` + hole + `0}]`, "bAQ==", "bc2Vjb25k"}, "\x1e"))
	})
}

// An acknowledgement with attachments means nothing to us, and breaks nothing.
func TestABinaryAck(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, r *rig) {
		c := r.connected()
		c.Send("461-7[" + hole + "0}]")
		c.SendBinary([]byte("x"))
		c.talks("")
	})
}

func TestBadBinary(t *testing.T) {
	say := func(head, data string) string { return "45" + head + `["say",` + data + "]" }
	for name, tc := range map[string]struct {
		header string
		then   string // a packet; empty: one attachment
	}{
		"no attachments":          {header: say("0-", "1")},
		"eleven":                  {header: `4511-["say"` + holes(11) + "]"},
		"a hundred":               {header: say("100-", "1")},
		"very many":               {header: say(strings.Repeat("9", 500)+"-", "1")},
		"a sign":                  {header: say("+1-", hole+"0}")},
		"negative":                {header: say("-1-", hole+"0}")},
		"a fraction":              {header: say("1.0-", hole+"0}")},
		"no number":               {header: say("-", hole+"0}")},
		"no dash":                 {header: say("1", hole+"0}")},
		"no payload":              {header: "451-"},
		"an object":               {header: "451-{}"},
		"an ack without an id":    {header: "461-[" + hole + "0}]"},
		"a number out of range":   {header: say("1-", hole+"1}")},
		"a negative number":       {header: say("1-", hole+"-1}")},
		"half a number":           {header: say("1-", hole+"0.5}")},
		"text as number":          {header: say("1-", hole+`"0"}`)},
		"no number at all":        {header: say("1-", `{"_placeholder":true}`)},
		"an enormous number":      {header: say("1-", hole+"9999999999999999999}")},
		"deep inside":             {header: say("1-", `{"a":[{"b":`+hole+`7}}]}`)},
		"text in between":         {header: say("1-", hole+"0}"), then: `42["note"]`},
		"a connect in between":    {header: say("1-", hole+"0}"), then: "40/custom,"},
		"a second header":         {header: say("1-", hole+"0}"), then: say("1-", hole+"0}")},
		"a reserved name":         {header: `451-["connect",` + hole + "0}]"},
		"an attachment as a name": {header: `451-[` + hole + "0}]"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, options{}, func(t *testing.T, r *rig) {
				neighbour := r.connected()
				c := r.connected()
				p := r.last()
				c.Send(tc.header)
				if tc.then != "" {
					c.Send(tc.then)
				} else {
					c.SendBinary([]byte("x"))
				}
				c.Ended()
				if len(p.events) != 0 {
					t.Errorf("events %q", p.events)
				}
				neighbour.talks("")
			})
		})
	}
}

// More attachments than announced are binary out of the blue.
func TestOneAttachmentTooMany(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, r *rig) {
		c := r.connected()
		c.Send(`451-["say",` + hole + "0}]")
		c.SendBinary([]byte("x"))
		c.Gets(`451-["said",` + hole + "0}]")
		c.GetsBinary("x")
		c.SendBinary([]byte("y"))
		c.Ended()
	})
}

// Socket.IO goes through an upgrade without noticing.
func TestEventsAcrossTheUpgrade(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, r *rig) {
		p := r.Open("")
		p.Sent("40")
		p.Get()
		p.Sent(`451-["say",` + hole + "0}]")
		ws := p.Probe()
		ws.Send("2probe")
		ws.Gets("3probe")
		_ = r.last().socket.Emit("waits")
		ws.Send("5")
		ws.SendBinary([]byte("attached")) // what polling began
		ws.Gets(`42["waits"]`, `451-["said",`+hole+"0}]")
		ws.GetsBinary("attached")
	})
}

// The reply to CONNECT comes before all events of its socket, also if others keep
// the connection sending.
func TestTheConnectReplyComesFirst(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, r *rig) {
		const refused = 60 // answers in front of the one that matters make Fill last
		for range 10 {
			r.prepare = nil
			c := r.connected()
			stop := wakes(r.last().socket)
			r.prepare = func(p *peer) { _ = p.socket.Emit("early") }
			for range 7 {
				go c.Send(append(slices.Repeat([]string{"40/random,"}, refused), "40/custom,")...)
				for range refused {
					c.Gets(`44/random,{"message":"Invalid namespace"}`)
				}
				c.joined("/custom,")
				c.Gets(`42/custom,["early"]`)
				c.Send("41/custom,")
			}
			stop()
			c.Drop()
		}
	})
}

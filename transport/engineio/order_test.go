package engineio_test

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/jobcast/jobcast/transport/engineio"
	"github.com/jobcast/jobcast/transport/engineio/engineiotest"
)

// splitPackets splits a payload and leaves out what carries no message.
func splitPackets(body string) []string {
	return slices.DeleteFunc(strings.Split(body, "\x1e"), func(p string) bool { return p == "6" })
}

// TestAnySplitKeepsOrder lets chance decide which messages both sides send, how the
// client groups them, and when it moves to a WebSocket. Each side gets exactly what
// the other sent, in order.
func TestAnySplitKeepsOrder(t *testing.T) {
	r := newRig(t, engineio.Options{}, engineiotest.TCP)
	rapid.Check(t, func(rt *rapid.T) {
		c := engineiotest.NewClient(rt, r.dial, "/engine.io/", rapid.Bool().Draw(rt, "keep"))
		x := &exchange{rt: rt, r: r, p: c.Open("")}
		steps := rapid.IntRange(1, 12).Draw(rt, "steps")
		upgrade := rapid.IntRange(0, steps).Draw(rt, "upgrade") // steps: never
		for i := range steps {
			if i == upgrade {
				x.upgrade()
			}
			rapid.SampledFrom([]func(){x.up, x.down, x.poll, x.both}).Draw(rt, "step")()
		}
		x.finish()
	})
}

// exchange is one session, and what was sent in it.
type exchange struct {
	rt         *rapid.T
	r          *rig
	p          *engineiotest.Poller
	ws         *engineiotest.WebSocket // nil: polling
	sent, told []string                // by the client, by the application
	got        []string                // by the client
}

// texts draws messages: what is binary begins with that word.
func (x *exchange) texts() []string {
	text := rapid.OneOf(rapid.StringMatching(`(binary:)?[a-z{}"\[\]]{0,20}`), rapid.StringN(0, 10, 40), rapid.Just(strings.Repeat("long", 500)))
	return rapid.SliceOfN(rapid.Map(text, func(s string) string { return strings.ReplaceAll(strings.ToValidUTF8(s, "?"), "\x1e", "") }), 1, 8).Draw(x.rt, "messages")
}

// packet is a message as a packet in text form.
func packet(text string) string {
	if data, ok := strings.CutPrefix(text, "binary:"); ok {
		return "b" + base64.StdEncoding.EncodeToString([]byte(data))
	}
	return "4" + text
}

// message undoes packet.
func message(rt *rapid.T, packet string) string {
	switch {
	case strings.HasPrefix(packet, "4"):
		return packet[1:]
	case strings.HasPrefix(packet, "b"):
		data, err := base64.StdEncoding.DecodeString(packet[1:])
		if err != nil {
			rt.Fatalf("%q: %v", packet, err)
		}
		return "binary:" + string(data)
	}
	rt.Fatalf("got %q", packet)
	return ""
}

// up sends messages to the application, in one or more pieces.
func (x *exchange) up() {
	texts := x.texts()
	x.sent = append(x.sent, texts...)
	for len(texts) > 0 {
		n := rapid.IntRange(1, len(texts)).Draw(x.rt, "group")
		var packets []string
		for _, text := range texts[:n] {
			packets = append(packets, packet(text))
		}
		texts = texts[n:]
		if x.ws == nil {
			x.p.Sent(packets...)
			continue
		}
		for _, packet := range packets {
			data, binary := strings.CutPrefix(message(x.rt, packet), "binary:")
			if binary && rapid.Bool().Draw(x.rt, "raw") {
				x.ws.SendBinary([]byte(data))
				continue
			}
			x.ws.Send(packet)
		}
	}
}

// down lets the application send.
func (x *exchange) down() {
	texts := x.texts()
	x.told = append(x.told, texts...)
	a := x.r.app(x.p.SID)
	for _, text := range texts {
		if data, ok := strings.CutPrefix(text, "binary:"); ok {
			a.sendBinary(data)
			continue
		}
		a.send(text)
	}
}

// take notes the packets of an answer.
func (x *exchange) take(r engineiotest.Reply) {
	if r.Status != 200 {
		x.rt.Fatalf("answered %d %q %v", r.Status, r.Body, r.Err)
	}
	for _, p := range splitPackets(r.Body) {
		x.got = append(x.got, message(x.rt, p))
	}
}

// poll fetches what is due, if something is.
func (x *exchange) poll() {
	if len(x.got) == len(x.told) {
		return
	}
	if x.ws == nil {
		x.take(x.p.Get())
		return
	}
	op, data, err := x.ws.Next()
	if err != nil {
		x.rt.Fatalf("frame: %v", err)
	}
	text := string(data)
	if op == 2 {
		text = "binary:" + text
	} else {
		text = message(x.rt, text)
	}
	x.got = append(x.got, text)
}

// both sends in both directions while a GET is under way.
func (x *exchange) both() {
	if x.ws != nil {
		x.down()
		x.up()
		return
	}
	poll := x.p.Poll()
	x.up()
	x.down()
	x.take(poll.Reply())
}

// upgrade moves as clients do: not before the GET under way is answered.
func (x *exchange) upgrade() {
	poll := x.p.Poll()
	if rapid.Bool().Draw(x.rt, "send before the probe") {
		x.down()
	}
	ws := x.p.Probe()
	ws.Send("2probe")
	if rapid.Bool().Draw(x.rt, "send beside the probe") {
		x.up()
		x.down()
	}
	ws.Gets("3probe")
	x.take(poll.Reply())
	if rapid.Bool().Draw(x.rt, "poll after the probe") {
		x.take(x.p.Get())
	}
	if rapid.Bool().Draw(x.rt, "send before the upgrade") {
		x.down()
	}
	ws.Send("5")
	x.ws = ws
}

// finish compares.
func (x *exchange) finish() {
	for len(x.got) < len(x.told) {
		x.poll()
	}
	if !slices.Equal(x.got, x.told) {
		x.rt.Fatalf("the client got %.500q of %.500q", x.got, x.told)
	}
	a := x.r.app(x.p.SID)
	if x.ws != nil {
		x.ws.Send("1")
	} else {
		x.p.Sent("1")
	}
	select { // all that came before was handed over then
	case <-a.over:
	case <-time.After(time.Minute):
		x.rt.Fatalf("not closed")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !slices.Equal(a.in, x.sent) {
		x.rt.Fatalf("the application got %.500q of %.500q", a.in, x.sent)
	}
}

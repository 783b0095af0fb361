package server_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jobcast/jobcast/transport/engineio/engineiotest"
)

// TestOffsetsOnTheWire: every packet as it stands there, for each way of offsets. An
// answer of long-polling is one write.
func TestOffsetsOnTheWire(t *testing.T) {
	const cursor, place = `[a-z0-9]+-\d+`, `[a-z0-9]+-\d+\.\d+\.\d+`
	for offset, want := range map[string][2]string{
		"event": {
			`40/jobs,{"sid":"S","pid":"S"}|42/jobs,["connected",{}]|42/jobs,["CURSOR"]`,
			`42/jobs,["subscribed",{}]|42/jobs,["PLACE"]|43/jobs,7[{}]|42/jobs,["job.event",{}]|42/jobs,["job.event",{}]|` +
				`42/jobs,["live",{}]|42/jobs,["PLACE"]|42/jobs,["job.event",{}]|42/jobs,["job.event",{}]|42/jobs,["end",{}]|42/jobs,["CURSOR"]`,
		},
		"argument": {
			`40/jobs,{"sid":"S","pid":"S"}|42/jobs,["connected",{},"CURSOR"]`,
			`42/jobs,["subscribed",{},"PLACE"]|43/jobs,7[{}]|42/jobs,["job.event",{},"PLACE"]|42/jobs,["job.event",{},"PLACE"]|` +
				`42/jobs,["live",{},"PLACE"]|42/jobs,["job.event",{},"CURSOR"]|42/jobs,["job.event",{},"CURSOR"]|42/jobs,["end",{}]`,
		},
		"off": {
			`40/jobs,{"sid":"S"}|42/jobs,["connected",{}]`,
			`42/jobs,["subscribed",{}]|43/jobs,7[{}]|42/jobs,["job.event",{}]|42/jobs,["job.event",{}]|` +
				`42/jobs,["live",{}]|42/jobs,["job.event",{}]|42/jobs,["job.event",{}]|42/jobs,["end",{}]`,
		},
	} {
		t.Run(offset, func(t *testing.T) {
			s := newSessionTestWith(t, offset, false)
			p := engineiotest.NewClient(t, s.server.Dial, "/socket.io/", false).Open("")
			p.Sent(`40/jobs,{"token":"` + s.caller.Secret + `","pid":"x","offset":"0-0"}`)
			shape := func(body string) string { // leaves out what differs from run to run
				body = strings.ReplaceAll(body, "\x1e", "|")
				body = regexp.MustCompile(`"`+place+`"`).ReplaceAllString(body, `"PLACE"`)
				body = regexp.MustCompile(`(\[|,)"`+cursor+`"\]`).ReplaceAllString(body, `$1"CURSOR"]`)
				body = regexp.MustCompile(`"(sid|pid)":"[^"]+"`).ReplaceAllString(body, `"$1":"S"`)
				return regexp.MustCompile(`([\[,])\{"[^|]*\}([\],])`).ReplaceAllString(body, `$1{}$2`)
			}
			if got := shape(p.Get().Body); got != want[0] {
				t.Errorf("CONNECT is answered\n%s, want\n%s", got, want[0])
			}
			w := s.log.Begin(t)
			p.Sent(`42/jobs,7["subscribe",{"jobId":"` + w.Job + `","from":"start"}]`)
			got := shape(p.Get().Body)
			w.Emit(t, 1, 1)
			w.Finish(t)
			if got += "|" + shape(p.Get().Body); got != want[1] {
				t.Errorf("subscribe is answered\n%s, want\n%s", got, want[1])
			}
			kept, _, err := s.server.Parts().Store.SweepSessions(t.Context(), time.Now().Add(time.Hour))
			if err != nil || (kept == 0) != (offset == "off") {
				t.Errorf("%d sessions are kept, %v", kept, err)
			}
		})
	}
}

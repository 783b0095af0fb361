package transport

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/hub"
)

func show(s hub.Start) string {
	cursor := "-"
	if s.Cursor != nil {
		cursor = s.Cursor.String()
	}
	from := map[hub.From]string{hub.Default: "", hub.FromStart: "start", hub.FromNow: "now"}
	return fmt.Sprintf("%s from=%s invalid=%t", cursor, from[s.From], s.Invalid)
}

func TestStartPrecedence(t *testing.T) {
	s := openSite(t, Options{}, func(_ *Door, app *fiber.App) {
		app.Get("/", func(c *fiber.Ctx) error {
			r, err := ReadingFrom(c)
			if err != nil {
				return err
			}
			return c.SendString(fmt.Sprintf("%s wait=%v conflate=%t heartbeat=%t", show(r.Start), r.Wait, r.Conflate, r.Heartbeat))
		})
	})
	const rest = " wait=0s conflate=false heartbeat=false"
	tests := []struct {
		name, query, header string
		want                string // the reading, or a code
	}{
		{"nothing", "", "", "- from= invalid=false" + rest},
		{"empty is absent", "lastEventId=&from=&wait=&conflate=&heartbeat=", "", "- from= invalid=false" + rest},
		{"from start", "from=start", "", "- from=start invalid=false" + rest},
		{"from now", "from=now", "", "- from=now invalid=false" + rest},
		{"query over from", "from=now&lastEventId=ab-3", "", "ab-3 from= invalid=false" + rest},
		{"header over query", "from=now&lastEventId=ab-3", "ab-9", "ab-9 from= invalid=false" + rest},
		{"header over a broken query", "lastEventId=%20", "ab-9", "ab-9 from= invalid=false" + rest},
		{"the beginning", "lastEventId=0-0", "", "0-0 from= invalid=false" + rest},
		{"broken header", "from=now", "ab-09", "- from=now invalid=true" + rest},
		{"broken header over query", "lastEventId=ab-3", "x", "- from= invalid=true" + rest},
		{"header of another alphabet", "", "AB-3", "- from= invalid=true" + rest},
		{"two headers that say the same", "", "ab-9\nab-9", "ab-9 from= invalid=false" + rest},
		{"two headers that differ", "lastEventId=ab-3", "ab-9\nab-8", "- from= invalid=true" + rest},
		{"broken query", "lastEventId=ab-03", "", "malformed"},
		{"negative query", "lastEventId=ab--3", "", "malformed"},
		{"huge query", "lastEventId=ab-99999999999999999999", "", "malformed"},
		{"unknown from", "from=yesterday", "", "invalid"},
		{"unknown from beside a cursor", "from=yesterday", "ab-3", "invalid"},
		{"options", "wait=60&conflate=1&heartbeat=event", "", "- from= invalid=false wait=1m0s conflate=true heartbeat=true"},
		{"options off", "wait=0&conflate=0", "", "- from= invalid=false" + rest},
		{"wait too long", "wait=61", "", "invalid"},
		{"wait overflows", "wait=99999999999999999999", "", "invalid"},
		{"negative wait", "wait=-1", "", "invalid"},
		{"wait in words", "wait=1s", "", "invalid"},
		{"signed wait", "wait=%2B1", "", "invalid"},
		{"conflate in words", "conflate=yes", "", "invalid"},
		{"unknown heartbeat", "heartbeat=loud", "", "invalid"},
		{"other names are ignored", "_=123", "", "- from= invalid=false" + rest},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var headers []string
			for line := range strings.Lines(tt.header) {
				headers = append(headers, "Last-Event-ID: "+strings.TrimSuffix(line, "\n"))
			}
			a := s.call("GET", "/?"+tt.query, headers...)
			got := a.body
			if a.StatusCode != 200 {
				got = string(a.problem(t).Code)
			}
			if got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
	if a := s.call("GET", "/?lastEventId="+url.QueryEscape("ab-3 ")); a.StatusCode != 400 {
		t.Errorf("a cursor with a space: %d", a.StatusCode)
	}
}

func TestParseStart(t *testing.T) {
	tests := []struct{ last, from, want string }{
		{"", "", "- from= invalid=false"},
		{"", "now", "- from=now invalid=false"},
		{"ab-3", "now", "ab-3 from= invalid=false"},
		{"?", "now", "- from=now invalid=true"},
	}
	for _, tt := range tests {
		got, err := ParseStart(tt.last, tt.from, nil)
		if err != nil || show(got) != tt.want {
			t.Errorf("%q, %q: %s, %v; want %s", tt.last, tt.from, show(got), err, tt.want)
		}
	}
	for _, tail := range []string{`"3"`, "0", "1e2", "10001", "{}"} {
		if _, err := ParseStart("", "", json.RawMessage(tail)); err == nil {
			t.Errorf("tail %s is taken", tail)
		}
	}
	if got, err := ParseStart("", "now", json.RawMessage("3")); err != nil || got.Tail != 3 {
		t.Errorf("tail 3: %+v, %v", got, err)
	}
	if _, err := ParseStart("ab-3", "later", nil); err == nil {
		t.Error("an unknown from was taken")
	}
}

package transport

import (
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"
)

func TestNegotiate(t *testing.T) {
	s := openSite(t, Options{}, func(_ *Door, app *fiber.App) {
		app.Get("/", func(c *fiber.Ctx) error {
			f, err := Negotiate(c)
			if err != nil {
				return err
			}
			only := "any"
			if PassingRefusal(c) {
				only = "dress"
			} else if AcceptsOnlyEventStream(c) {
				only = "only"
			}
			return c.SendString(f.Kind() + " " + only)
		})
	})
	const refused = "refused"
	tests := []struct {
		accept []string
		want   string
	}{
		{nil, "poll any"},
		{[]string{""}, "poll any"},
		{[]string{"*/*"}, "poll any"},
		{[]string{"application/json"}, "poll any"},
		{[]string{"application/*"}, "poll any"},
		{[]string{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}, "poll any"},
		{[]string{"text/event-stream"}, "sse only"},
		{[]string{"Text/Event-Stream; charset=utf-8"}, "sse only"},
		{[]string{"text/*"}, "sse any"},
		{[]string{"text/event-stream, */*;q=0.1"}, "sse any"},
		{[]string{"text/event-stream, application/json;q=0"}, "sse only"},
		{[]string{"text/event-stream, */*"}, "sse any"},
		{[]string{"*/*, text/event-stream"}, "sse any"},
		{[]string{"application/json, text/event-stream"}, "poll any"},
		{[]string{"text/event-stream, application/json"}, "sse any"},
		{[]string{"application/json", "text/event-stream"}, "poll any"},
		{[]string{"application/json;q=0.5, application/x-ndjson;q=0.9"}, "ndjson any"},
		{[]string{"application/x-ndjson"}, "ndjson any"},
		{[]string{"*/*, application/json;q=0"}, "sse any"},
		{[]string{"*/*, application/json;q=0, text/*;q=0"}, "ndjson any"},
		{[]string{"application/*;q=0.2, application/json;q=0.1"}, "ndjson any"},
		{[]string{"garbage, text/event-stream"}, "sse only"},
		{[]string{"text/event-stream;q=2, application/json"}, "poll any"},
		{[]string{"text/event-stream;q=nan"}, refused},
		{[]string{"text/event-stream;q=0"}, refused},
		{[]string{"text/html"}, refused},
		{[]string{"garbage"}, refused},
		{[]string{strings.Repeat("text/html,", maxAcceptRanges) + "*/*"}, refused},
	}
	for _, tt := range tests {
		var headers []string
		for _, a := range tt.accept {
			headers = append(headers, "Accept: "+a)
		}
		a := s.call("GET", "/", headers...)
		got := a.body
		if a.StatusCode != 200 {
			if p := a.problem(t); p.Code != NotAcceptable || p.Status != 406 {
				t.Fatalf("%+v", p)
			}
			got = refused
		}
		if got != tt.want {
			t.Errorf("Accept %q: %s, want %s", tt.accept, got, tt.want)
		}
	}
	if a := s.call("GET", "/", "Accept: text/event-stream", "Last-Event-ID: a-1"); a.body != "sse dress" {
		t.Errorf("a reconnecting EventSource: %s", a.body)
	}
	if a := s.call("GET", "/", "Accept: */*", "Last-Event-ID: a-1"); a.body != "poll any" {
		t.Errorf("another reader with Last-Event-ID: %s", a.body)
	}
}

func FuzzAccept(f *testing.F) {
	for _, s := range []string{"*/*", "text/*;q=0.3, text/event-stream", "a/b;q=\"0.1\"", ";,;", "*", "text/event-stream;q=1e-9", "a/b/c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		ranges := parseAccept(header)
		if len(ranges) > maxAcceptRanges {
			t.Fatalf("%d ranges", len(ranges))
		}
		for _, r := range ranges {
			if !(r.q >= 0 && r.q <= 1) || strings.Count(r.media, "/") != 1 {
				t.Fatalf("%q gave %+v", header, r)
			}
		}
		format, ok := negotiate(ranges)
		if !ok {
			return
		}
		at, found := mostExact(ranges, format)
		if !found || ranges[at].q == 0 {
			t.Fatalf("%q gave %v, which it excludes", header, format)
		}
		for _, other := range formats {
			if i, found := mostExact(ranges, other); found && ranges[i].q > ranges[at].q {
				t.Fatalf("%q gave %v, but wants %v more", header, format, other)
			}
		}
	})
}

package transport

import (
	"bufio"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// TestConditions goes through RFC 9110 13.2.2, step by step.
func TestConditions(t *testing.T) {
	modified := time.Date(2026, 3, 4, 5, 6, 7, 890_000_000, time.UTC)
	var (
		same   = modified.Format(http.TimeFormat) // in whole seconds
		before = modified.Add(-time.Hour).Format(http.TimeFormat)
		after  = modified.Add(time.Hour).Format(http.TimeFormat)
	)
	there, nothing := Validators{`"a,b"`, modified}, Validators{}
	undated := Validators{ETag: `"a,b"`}
	const goOn, fresh, refused = "200", "304", "412"
	type row struct {
		headers string // separated by |
		get     string // what GET and HEAD come to
		put     string // what PUT comes to
	}
	for _, tt := range []struct {
		what string
		now  Validators
		rows []row
	}{
		{"there", there, []row{
			{"", goOn, goOn},
			// 1: If-Match, by strong comparison.
			{`If-Match: "a,b"`, goOn, goOn},
			{`If-Match: *`, goOn, goOn},
			{`If-Match: "x" , ,"a,b"`, goOn, goOn},
			{`If-Match: "x"|If-Match: "a,b"`, goOn, goOn},
			{`If-Match: W/"a,b"`, refused, refused},
			{`If-Match: "a", "b"`, refused, refused},
			{`If-Match: a,b`, refused, refused},
			{`If-Match: "a,b`, refused, refused},
			{`If-Match: x, "a,b"`, refused, refused},
			{`If-Match: `, goOn, goOn}, // empty is absent
			// 2: If-Unmodified-Since, only without If-Match.
			{`If-Unmodified-Since: ` + before, refused, refused},
			{`If-Unmodified-Since: ` + same, goOn, goOn},
			{`If-Unmodified-Since: ` + after, goOn, goOn},
			{`If-Unmodified-Since: yesterday`, goOn, goOn},
			{`If-Match: "a,b"|If-Unmodified-Since: ` + before, goOn, goOn},
			{`If-Match: "x"|If-Unmodified-Since: ` + after, refused, refused},
			// 3: If-None-Match, by weak comparison.
			{`If-None-Match: "a,b"`, fresh, refused},
			{`If-None-Match: W/"a,b"`, fresh, refused},
			{`If-None-Match: *`, fresh, refused},
			{`If-None-Match: "x", W/"a,b"`, fresh, refused},
			{`If-None-Match: "x"|If-None-Match: "a,b"`, fresh, refused},
			{`If-None-Match: "x"`, goOn, goOn},
			{`If-None-Match: b"`, goOn, goOn},
			// 4: If-Modified-Since, only on reads and without If-None-Match.
			{`If-Modified-Since: ` + before, goOn, goOn},
			{`If-Modified-Since: ` + same, fresh, goOn},
			{`If-Modified-Since: ` + after, fresh, goOn},
			{`If-Modified-Since: Wednesday, 04-Mar-26 05:06:07 GMT`, fresh, goOn},
			{`If-Modified-Since: Wed Mar  4 05:06:07 2026`, fresh, goOn},
			{`If-Modified-Since: 2026-03-04T05:06:07Z`, goOn, goOn},
			{`If-None-Match: "x"|If-Modified-Since: ` + after, goOn, goOn},
			{`If-None-Match: "a,b"|If-Modified-Since: ` + before, fresh, refused},
			// The first pair comes before the second.
			{`If-Match: "x"|If-None-Match: "a,b"`, refused, refused},
			{`If-Match: "a,b"|If-None-Match: "a,b"`, fresh, refused},
			{`If-Match: *|If-None-Match: "x"`, goOn, goOn},
			{`If-Unmodified-Since: ` + before + `|If-None-Match: "a,b"`, refused, refused},
			{`If-Unmodified-Since: ` + after + `|If-Modified-Since: ` + after, fresh, goOn},
			// 5 is WantsRange.
			{`If-Range: "x"|Range: bytes=0-1`, goOn, goOn},
		}},
		{"nothing there", nothing, []row{
			{"", goOn, goOn},
			{`If-Match: *`, refused, refused},
			{`If-Match: "a,b"`, refused, refused},
			{`If-Match: ""`, refused, refused},
			{`If-None-Match: *`, goOn, goOn},
			{`If-None-Match: "a,b"`, goOn, goOn},
			{`If-Unmodified-Since: ` + before, goOn, goOn},
			{`If-Modified-Since: ` + after, goOn, goOn},
		}},
		{"there, of unknown age", undated, []row{
			{`If-Unmodified-Since: ` + before, goOn, goOn},
			{`If-Modified-Since: ` + after, goOn, goOn},
			{`If-None-Match: "a,b"`, fresh, refused},
		}},
	} {
		for _, r := range tt.rows {
			for method, want := range map[string]string{"GET": r.get, "HEAD": r.get, "PUT": r.put} {
				on(t, method, r.headers, func(c *fiber.Ctx) {
					got := goOn
					isFresh, err := Conditions(c, tt.now)
					var p *Problem
					switch {
					case errors.As(err, &p) && p.Code == PreconditionFailed && !isFresh:
						got = refused
					case err != nil:
						t.Fatal(err)
					case isFresh:
						got = fresh
					}
					if got != want {
						t.Errorf("%s, %s %q: %s, want %s", tt.what, method, r.headers, got, want)
					}
				})
			}
		}
	}
}

// TestWantsRange is step 5 of RFC 9110 13.2.2.
func TestWantsRange(t *testing.T) {
	now := Validators{`"a"`, time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)}
	for headers, want := range map[string]bool{
		"":                                    false,
		`If-Range: "a"`:                       false,
		`Range: bytes=0-1`:                    true,
		`Range: bytes=0-1|If-Range: "a"`:      true,
		`Range: bytes=0-1|If-Range: "b"`:      false,
		`Range: bytes=0-1|If-Range: W/"a"`:    false,
		`Range: bytes=0-1|If-Range: "a", "b"`: false,
		`Range: bytes=0-1|If-Range: ` + now.Modified.Format(http.TimeFormat): false,
	} {
		on(t, "GET", headers, func(c *fiber.Ctx) {
			if _, got := WantsRange(c, now); got != want {
				t.Errorf("%q: %t, want %t", headers, got, want)
			}
		})
		on(t, "HEAD", headers, func(c *fiber.Ctx) {
			if _, got := WantsRange(c, now); got {
				t.Errorf("HEAD %q has a range", headers)
			}
		})
	}
}

// on gives f a request as a handler gets it; headers are separated by |.
func on(t *testing.T, method, headers string, f func(*fiber.Ctx)) {
	t.Helper()
	if headers != "" {
		headers = strings.ReplaceAll(headers, "|", "\r\n") + "\r\n"
	}
	var rc fasthttp.RequestCtx
	if err := rc.Request.Read(bufio.NewReader(strings.NewReader(method + " / HTTP/1.1\r\nHost: x\r\n" + headers + "\r\n"))); err != nil {
		t.Fatal(err)
	}
	app := fiber.New()
	c := app.AcquireCtx(&rc)
	defer app.ReleaseCtx(c)
	if err := joinFields(c); err != nil {
		t.Fatal(err)
	}
	f(c)
}

func FuzzAnyTag(f *testing.F) {
	f.Add(`"a", W/"b",,`)
	f.Add(`*`)
	f.Fuzz(func(t *testing.T, list string) {
		if anyTag(list, `"a"`, strong) && !anyTag(list, `"a"`, weak) {
			t.Fatalf("%q holds a tag strongly and not weakly", list)
		}
		if anyTag(list, "", weak) {
			t.Fatalf("%q holds what is not there", list)
		}
	})
}

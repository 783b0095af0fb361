package transport

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/valyala/fasthttp"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
)

// The contract: every code with its status.
func TestTable(t *testing.T) {
	want := map[Code]int{
		"malformed": 400, "ambiguous_credentials": 400, "unauthenticated": 401, "forbidden": 403, "not_found": 404,
		"method_not_allowed": 405, "not_acceptable": 406, "timeout": 408, "conflict": 409, "lease_lost": 409,
		"cursor_gone": 410, "precondition_failed": 412, "range_not_satisfiable": 416, "too_large": 413, "unsupported_media_type": 415, "invalid": 422, "idempotency_mismatch": 422,
		"upgrade_required": 426, "connection_limit": 429, "login_limit": 429, "job_limit": 429, "key_limit": 429, "secret_limit": 429, "headers_too_large": 431,
		"internal": 500, "draining": 503, "unavailable": 503, "storage_full": 507, "artifact_limit": 507,
	}
	got := map[Code]int{}
	for code, r := range table {
		got[code] = r.status
		p := Refuse(code, "detail")
		if p.Type != "/problems/"+string(code) || p.Title == "" || p.Title != r.title || p.Code != code {
			t.Errorf("%s: %+v", code, p)
		}
		if late := p.Status == 429 || p.Status == 503 || p.Status == 507; late != (p.Retry() > 0) {
			t.Errorf("%s: Retry-After %v", code, p.Retry())
		}
		if passing := p.Status == 429 || p.Status == 503; passing != p.Passing() {
			t.Errorf("%s: passing %t", code, p.Passing())
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if p := Refuse("no_such_code", ""); p.Code != Internal || p.Status != 500 {
		t.Errorf("an unknown code gave %+v", p)
	}
}

func TestFromError(t *testing.T) {
	conflict := &jobs.ConflictError{Job: jobs.Job{ID: "j1", Status: jobs.Completed}, Detail: "the job has ended"}
	small := &fasthttp.ErrSmallBuffer{}
	tests := []struct {
		err  error
		want Code
	}{
		{conflict, Conflict},
		{&jobs.InvalidError{Fields: []jobs.FieldError{{Pointer: "/actions/0/url", Detail: "missing"}}}, Invalid},
		{&jobs.MalformedError{Detail: "not UTF-8"}, Malformed},
		{jobs.ErrNotFound, NotFound},
		{jobs.ErrNotSealed, NotFound},
		{&jobs.LimitError{What: jobs.LimitSecrets, Max: 1, Used: 1, Asked: 1}, SecretLimit},
		{jobs.ErrLeaseLost, LeaseLost},
		{jobs.ErrIdempotencyMismatch, IdempotencyMismatch},
		{jobs.ErrUnavailable, Unavailable},
		{jobs.ErrStorageFull, StorageFull},
		{jobs.ErrClosed, Draining},
		{auth.ErrUnauthenticated, Unauthenticated},
		{auth.ErrRevoked, Unauthenticated},
		{auth.ErrExpired, Unauthenticated},
		{auth.ErrConnectionLimit, ConnectionLimit},
		{&auth.LoginLimitError{RetryAfter: 1500 * time.Millisecond}, LoginLimit},
		{auth.ErrNoKey, NotFound},
		{&auth.KeyLimitError{Max: 2, Used: 2}, KeyLimit},
		{&auth.InvalidError{Field: "name", Detail: "too long"}, Invalid},
		{context.DeadlineExceeded, Unavailable},
		{context.Canceled, Unavailable},
		{fmt.Errorf("%w: %w", jobs.ErrNotTried, context.DeadlineExceeded), Unavailable},
		{fasthttp.ErrBodyTooLarge, TooLarge},
		{small, HeadersTooLarge},
		{fasthttp.ErrTimeout, Timeout},
		{fiber.ErrNotFound, NotFound},
		{fiber.ErrMethodNotAllowed, MethodNotAllowed},
		{fiber.ErrUpgradeRequired, UpgradeRequired},
		{fiber.ErrRequestTimeout, Timeout},
		{fiber.ErrRequestEntityTooLarge, TooLarge},
		{fiber.ErrRequestHeaderFieldsTooLarge, HeadersTooLarge},
		{fiber.NewError(400, "quotes the request"), Malformed},
		{fiber.ErrTeapot, Internal},
		{errors.New("anything"), Internal},
		{auth.ErrExists, Internal},
		{Refuse(Forbidden, "no"), Forbidden},
		{Gone(eventlog.ReasonPruned, "a-1", "a-9"), CursorGone},
	}
	for _, tt := range tests {
		t.Run(string(tt.want), func(t *testing.T) {
			p := FromError(fmt.Errorf("read job: %w", tt.err))
			if p.Code != tt.want {
				t.Fatalf("%v gave %s, want %s", tt.err, p.Code, tt.want)
			}
			if p.Code == Internal && (p.Detail == tt.err.Error() || !errors.Is(p, tt.err)) {
				t.Error("the text of an internal error must go to the log, and only there")
			}
		})
	}
	if p := FromError(conflict); p.Job == nil || p.Job.ID != "j1" {
		t.Error("a conflict carries the job")
	}
	if p := FromError(&auth.LoginLimitError{RetryAfter: 1500 * time.Millisecond}); seconds(p.Retry()) != 2 {
		t.Errorf("Retry-After %d, want 2", seconds(p.Retry()))
	}
	late := fmt.Errorf("%w: %w", jobs.ErrNotTried, context.DeadlineExceeded)
	if p := FromError(late); !strings.Contains(p.Detail, "nothing was changed") || strings.Contains(p.Detail, "unknown") {
		t.Errorf("what was not tried: %s", p.Detail)
	}
	shared := Refuse(NotFound, "x")
	FromError(shared).Instance = "r1"
	if shared.Instance != "" {
		t.Error("one request's id got into another's problem")
	}
}

func TestProblemMembers(t *testing.T) {
	lost := Refuse(LeaseLost, "gone")
	lost.JobStatus = jobs.Cancelled
	answers := map[string]error{
		"/gone": Gone(eventlog.ReasonPruned, "a-1", "a-9"), "/lost": lost,
		"/field": InvalidField("/name", "too <long>"), "/late": Refuse(LoginLimit, "x").RetryAfter(61500 * time.Millisecond),
	}
	s := openSite(t, Options{}, func(_ *Door, app *fiber.App) {
		for path, err := range answers {
			app.Get(path, func(c *fiber.Ctx) error {
				c.Set("Location", "/v1/jobs/made")
				_ = c.SendString("half an answer")
				return err
			})
		}
	})
	if p := s.call("GET", "/gone").problem(t); p.Reason != eventlog.ReasonPruned || p.Oldest != "a-1" || p.LastEventID != "a-9" {
		t.Errorf("%+v", p)
	}
	if p := s.call("GET", "/lost").problem(t); p.Status != 409 || p.JobStatus != jobs.Cancelled {
		t.Errorf("%+v", p)
	}
	p := s.call("GET", "/field").problem(t)
	if d := cmp.Diff([]jobs.FieldError{{Pointer: "/name", Detail: "too <long>"}}, p.Errors); d != "" {
		t.Error(d)
	}
	if a := s.call("GET", "/late"); a.Header.Get("Retry-After") != "62" || a.Header.Get("Location") != "/v1/jobs/made" {
		t.Errorf("%v", a.Header)
	}
	if a := s.call("HEAD", "/gone"); a.StatusCode != 410 || a.body != "" || a.ContentLength <= 0 {
		t.Errorf("HEAD: %d, %q, length %d", a.StatusCode, a.body, a.ContentLength)
	}
}

func TestEveryCodeOnTheWire(t *testing.T) {
	s := openSite(t, Options{}, func(_ *Door, app *fiber.App) {
		app.Get("/:code", func(c *fiber.Ctx) error { return Refuse(Code(c.Params("code")), "because") })
	})
	for code, r := range table {
		a := s.call("GET", "/"+string(code))
		if p := a.problem(t); p.Code != code || a.StatusCode != r.status || p.Detail != "because" {
			t.Errorf("%s: %d %s", code, a.StatusCode, a.body)
		}
		if (r.retryAfter > 0) != (a.Header.Get("Retry-After") != "") {
			t.Errorf("%s: Retry-After %q", code, a.Header.Get("Retry-After"))
		}
	}
}

package action

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/jobcast/jobcast/jobs"
)

// saved is what an action left behind.
type saved struct{ name, contentType, body string }

// runSaving is run with a place for artifacts; fail is what saving says.
func runSaving(raw string, fail error) (any, *saved, error) {
	var got *saved
	env := jobs.Env{Save: func(_ context.Context, name, contentType string, _ int64, r io.Reader) (jobs.Artifact, error) {
		body, err := io.ReadAll(r)
		if err != nil {
			return jobs.Artifact{}, fmt.Errorf("read artifact: %w", err)
		}
		got = &saved{name, contentType, string(body)}
		return jobs.Artifact{Name: name}, fail
	}}
	v, err := Builtin(Options{AllowPrivateAddresses: true}).Run(context.Background(), json.RawMessage(raw), env)
	return v, got, err
}

func TestHTTPSaves(t *testing.T) {
	size := 100_000
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "image/png")
		if r.URL.Path == "/no" {
			w.WriteHeader(500)
		}
		_, _ = io.WriteString(w, strings.Repeat("x", size))
	})
	v, got, err := runSaving(fmt.Sprintf(`{"type":"http","url":%q,"saveAs":"pic.png"}`, base), nil)
	if err != nil || got == nil || got.name != "pic.png" || got.contentType != "image/png" || len(got.body) != size {
		t.Fatalf("%v, %+v", err, got)
	}
	r, _ := v.(httpResult)
	if r.Artifact == nil || *r.Artifact != "pic.png" || len(r.Body) != maxExcerpt || !r.BodyTruncated {
		t.Errorf("result %+v", r)
	}
	var e *jobs.ActionError
	if _, got, err = runSaving(fmt.Sprintf(`{"type":"http","url":%q,"saveAs":"pic.png"}`, base+"/no"), nil); got != nil ||
		!errors.As(err, &e) || e.Class != ClassStatus {
		t.Errorf("an unexpected status: %v, saved %v", err, got != nil)
	}
	lost := errors.New("lost")
	if _, _, err = runSaving(fmt.Sprintf(`{"type":"http","url":%q,"saveAs":"pic.png"}`, base), lost); !errors.Is(err, lost) {
		t.Errorf("a failure to save became %v", err)
	}
	size = maxBody + 1
	if _, got, err = runSaving(fmt.Sprintf(`{"type":"http","url":%q,"saveAs":"pic.png"}`, base), nil); got != nil ||
		!errors.As(err, &e) || e.Class != ClassTooLarge || e.Retryable {
		t.Errorf("too large a body: %v, saved %v", err, got != nil)
	}
}

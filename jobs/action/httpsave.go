package action

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/jobcast/jobcast/jobs"
)

// ClassTooLarge says that a body which was to be saved has more bytes than an
// action reads. It is not retried.
const ClassTooLarge = "BodyTooLarge"

// saveError is a body that arrived well and could not be kept.
type saveError struct{ err error }

func (e *saveError) Error() string { return "save body: " + e.err.Error() }
func (e *saveError) Unwrap() error { return e.err }

// body is a response's body on its way into an artifact.
type body struct {
	r    io.Reader
	n    int64  // bytes read
	head []byte // the first of them, for the excerpt: most and one more
	most int64
	err  error // what ended the reading, io.EOF excepted
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.n += int64(n)
	if room := int(b.most) + 1 - len(b.head); room > 0 {
		b.head = append(b.head, p[:min(n, room)]...)
	}
	if b.n > maxBody {
		n, err = 0, &saveError{&jobs.ActionError{
			Class: ClassTooLarge, Message: fmt.Sprintf("the body is larger than %d bytes", maxBody),
		}}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

// announced is how many bytes the response says that its body has; negative if it
// does not say, or more than are read: then reading finds that out.
func announced(resp *http.Response) int64 {
	if resp.ContentLength > maxBody {
		return -1
	}
	return resp.ContentLength
}

// saveResult reads the whole body into the artifact name.
func saveResult(ctx context.Context, resp *http.Response, name string, env jobs.Env) (httpResult, error) {
	r := httpResult{Type: "http", Status: resp.StatusCode, Headers: resultHeaders(resp.Header, env.Redactor), Artifact: &name}
	in := &body{r: resp.Body, most: headOf(env.Redactor)}
	_, err := env.Save(ctx, name, resp.Header.Get("Content-Type"), announced(resp), in)
	switch {
	case in.err != nil:
		return r, fmt.Errorf("read body: %w", in.err)
	case err != nil:
		return r, &saveError{err}
	}
	return r.withText(in.head, resp.Header.Get("Content-Type"), env.Redactor), nil
}

package rest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
	"github.com/jobcast/jobcast/transport/wire"
)

const (
	// uploadTime bounds one upload: 100 MiB at 60 KiB/s.
	uploadTime = 30 * time.Minute
	// stallTime is how long a peer may send nothing of an upload, or take
	// nothing of a download.
	stallTime = 10 * time.Second
)

// Artifacts is what this package asks of the job service for artifacts.
type Artifacts interface {
	SaveArtifact(ctx context.Context, l jobs.Lease, name, contentType string, size int64, r io.Reader,
		allow func(*jobs.StoredArtifact) error) (jobs.Saved, error)
	OpenArtifact(ctx context.Context, client, job, name string) (jobs.StoredArtifact, jobs.File, error)
}

// putArtifact streams the body to disk. An upload counts as a waiting call of
// its key while it lasts.
func (s *server) putArtifact(c *fiber.Ctx) error {
	p, l, err := s.holder(c)
	if err != nil {
		return err
	}
	name := strings.Clone(c.Params("name"))
	if !jobs.ValidArtifactName(name) {
		return transport.Refuse(transport.Invalid,
			"The name must be 1 to 128 characters of A-Z, a-z, 0-9, dot, underscore and hyphen, and neither . nor ..")
	}
	if enc := c.Get(fiber.HeaderContentEncoding); enc != "" && !strings.EqualFold(enc, "identity") {
		return transport.Refuse(transport.UnsupportedMediaType, "The body must not be compressed.").
			With(fiber.HeaderAcceptEncoding, "identity")
	}
	size := wire.BodyLength(c.Context()) // negative: not known
	if size > jobs.MaxArtifactBytes {
		return artifactTooLarge()
	}
	slot, err := s.Streams.OpenWait(p)
	if err != nil {
		return err
	}
	defer slot.Release()
	if err := s.Door.Admit(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), uploadTime)
	defer cancel()
	in := incoming(ctx, c.Context())
	contentType := string(c.Request().Header.ContentType())
	saved, err := s.Jobs.SaveArtifact(ctx, l, name, contentType, size, in, func(now *jobs.StoredArtifact) error {
		var v transport.Validators
		if now != nil {
			v = validators(*now)
		}
		_, err := transport.Conditions(c, v)
		return err
	})
	switch {
	case err == nil:
	case errors.Is(err, jobs.ErrTooLarge):
		return artifactTooLarge()
	case in.err != nil:
		return transport.BrokenBody(in.err)
	default:
		return s.lost(l, err)
	}
	c.Set(fiber.HeaderLocation, saved.Artifact.URL)
	c.Set(fiber.HeaderETag, validators(saved.Artifact).ETag)
	return transport.JSON(c, fiber.StatusCreated, saved.Artifact.Artifact)
}

func artifactTooLarge() error {
	return transport.Refuse(transport.TooLarge, fmt.Sprintf("An artifact has at most %d bytes.", jobs.MaxArtifactBytes))
}

// sender reads a request's body and does not wait for ever.
type sender struct {
	ctx context.Context
	r   io.Reader
	rc  *fasthttp.RequestCtx
	err error // what ended the reading, io.EOF excepted
}

// incoming returns the body of a request, as it comes.
func incoming(ctx context.Context, rc *fasthttp.RequestCtx) *sender {
	return &sender{ctx: ctx, r: wire.BodyReader(rc), rc: rc}
}

func (s *sender) Read(p []byte) (n int, err error) {
	if err = s.ctx.Err(); err == nil {
		err = s.rc.SetReadDeadline(time.Now().Add(stallTime))
	}
	if err == nil {
		n, err = s.r.Read(p)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// getArtifact answers GET and HEAD. What an artifact holds was written by
// somebody's worker, or fetched from anywhere: it is never let run as a page of
// this server.
func (s *server) getArtifact(c *fiber.Ctx) error {
	p, id, err := s.watched(c)
	if err != nil {
		return err
	}
	name := strings.Clone(c.Params("name"))
	if !jobs.ValidArtifactName(name) {
		name = "" // no artifact has it: refused in the usual order
	}
	if err := s.Door.Admit(); err != nil {
		return err
	}
	ctx, cancel := command()
	defer cancel()
	a, file, err := s.Jobs.OpenArtifact(ctx, p.ClientID, id, name)
	if errors.Is(err, jobs.ErrNoArtifact) {
		return transport.Refuse(transport.NotFound, "This job has no artifact with this name.")
	}
	if err != nil {
		return err
	}
	if err := download(c, a, file); err != nil {
		_ = file.Close()
		return err
	}
	return nil
}

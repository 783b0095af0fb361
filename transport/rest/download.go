package rest

import (
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
)

// validators are those of an artifact. A file is never later than now, whatever the
// clock was when it was written (RFC 9110 8.8.2.1).
func validators(a jobs.StoredArtifact) transport.Validators {
	v := transport.Validators{ETag: `"` + hex.EncodeToString(a.Digest[:16]) + `"`, Modified: a.Modified}
	if now := time.Now(); v.Modified.After(now) {
		v.Modified = now
	}
	return v
}

// download answers with an artifact: whole, a range of it (RFC 9110 14), or that a
// condition speaks against it (RFC 9110 13). On nil it owns file.
func download(c *fiber.Ctx, a jobs.StoredArtifact, file io.ReadSeekCloser) error {
	now := validators(a)
	now.Set(c)
	c.Set(fiber.HeaderCacheControl, "private, no-cache") // the name may hold other bytes tomorrow
	c.Set(fiber.HeaderContentSecurityPolicy, "sandbox")
	fresh, err := transport.Conditions(c, now)
	if err != nil {
		return err
	}
	if fresh {
		c.Status(fiber.StatusNotModified)
		return file.Close()
	}
	start, n := int64(0), a.Size
	if ranges, ok := transport.WantsRange(c, now); ok {
		from, to, ok := parseRange(ranges, a.Size)
		switch {
		case !ok: // not understood, or several: the whole, as RFC 9110 14.2 allows
		case from > to:
			return transport.Refuse(transport.RangeNotSatisfiable, fmt.Sprintf("The artifact has %d bytes.", a.Size)).
				With(fiber.HeaderContentRange, fmt.Sprintf("bytes */%d", a.Size))
		default:
			start, n = from, to-from+1
			c.Set(fiber.HeaderContentRange, fmt.Sprintf("bytes %d-%d/%d", from, to, a.Size))
			c.Status(fiber.StatusPartialContent)
		}
	}
	if _, err := file.Seek(start, io.SeekStart); err != nil {
		return fmt.Errorf("seek in artifact %s: %w", a.Name, err)
	}
	c.Set(fiber.HeaderAcceptRanges, "bytes")
	c.Set(fiber.HeaderContentType, a.ContentType)
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	c.Set(fiber.HeaderContentDisposition, disposition(a.ContentType)+`; filename="`+a.Name+`"`)
	c.Context().SetBodyStream(&receiver{io.LimitReader(file, n), file, c.Context()}, int(n))
	return nil
}

// disposition says whether a browser may show a type in its place. A type that
// can carry scripts is only ever saved.
func disposition(contentType string) string {
	media, _, _ := strings.Cut(contentType, ";")
	switch media {
	case "text/plain", "text/csv", "application/json", "application/x-ndjson", "image/avif", "image/bmp", "image/gif",
		"image/jpeg", "image/png", "image/webp", "audio/mpeg", "audio/ogg", "audio/wav", "audio/wave", "video/mp4", "video/webm":
		return "inline"
	}
	return "attachment"
}

// parseRange reads `bytes=from-to`, `bytes=from-` or `bytes=-last` of one range.
// ok is false if it is none of these; from > to if it lies beyond the end.
func parseRange(header string, size int64) (from, to int64, ok bool) {
	unit, set, _ := strings.Cut(header, "=")
	first, last, found := strings.Cut(strings.Trim(set, " \t,"), "-") // the list may have empty elements
	if !found || !strings.EqualFold(unit, "bytes") {
		return 0, 0, false
	}
	if first == "" {
		n, ok := parseOffset(last)
		if ok && (n == 0 || size == 0) {
			return 1, 0, true
		}
		return max(0, size-n), size - 1, ok
	}
	from, ok = parseOffset(first)
	to = size - 1
	if ok && last != "" {
		end, valid := parseOffset(last)
		if ok = valid && end >= from; ok {
			to = min(end, to)
		}
	}
	if ok && from >= size {
		return 1, 0, true
	}
	return from, to, ok
}

// parseOffset reads a plain decimal number that fits in an int64.
func parseOffset(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// receiver is a body on its way out. A peer that takes nothing for stallTime is
// cut off. The server reads and closes it while it writes the answer, before the
// request context is used again.
type receiver struct {
	r    io.Reader
	file io.Closer
	rc   *fasthttp.RequestCtx
}

func (r *receiver) Read(p []byte) (int, error) {
	if err := r.rc.SetWriteDeadline(time.Now().Add(stallTime)); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

func (r *receiver) Close() error { return r.file.Close() }

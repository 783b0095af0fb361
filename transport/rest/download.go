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
)

// download answers with an artifact: whole, a range of it (RFC 9110 14), or
// that the caller has it already (RFC 9110 13.1.2). On nil it owns file.
func download(c *fiber.Ctx, a jobs.StoredArtifact, file io.ReadSeekCloser) error {
	tag := `"` + hex.EncodeToString(a.Digest[:16]) + `"`
	c.Set(fiber.HeaderETag, tag)
	c.Set(fiber.HeaderCacheControl, "private, no-cache") // the name may hold other bytes tomorrow
	c.Set(fiber.HeaderAcceptRanges, "bytes")
	c.Set(fiber.HeaderContentSecurityPolicy, "sandbox")
	if matches(c.Get(fiber.HeaderIfNoneMatch), tag) {
		c.Status(fiber.StatusNotModified)
		return file.Close()
	}
	c.Set(fiber.HeaderContentType, a.ContentType)
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	c.Set(fiber.HeaderContentDisposition, disposition(a.ContentType)+`; filename="`+a.Name+`"`)
	start, n := int64(0), a.Size
	if header := c.Get(fiber.HeaderRange); header != "" && c.Method() == fiber.MethodGet && sameBytes(c.Get(fiber.HeaderIfRange), tag) {
		from, to, ok := parseRange(header, a.Size)
		switch {
		case !ok: // not understood, or several: the whole, as RFC 9110 14.2 allows
		case from > to:
			c.Set(fiber.HeaderContentRange, fmt.Sprintf("bytes */%d", a.Size))
			c.Status(fiber.StatusRequestedRangeNotSatisfiable)
			return file.Close()
		default:
			start, n = from, to-from+1
			c.Set(fiber.HeaderContentRange, fmt.Sprintf("bytes %d-%d/%d", from, to, a.Size))
			c.Status(fiber.StatusPartialContent)
		}
	}
	if _, err := file.Seek(start, io.SeekStart); err != nil {
		return fmt.Errorf("seek in artifact %s: %w", a.Name, err)
	}
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

// matches reports whether If-None-Match names tag; weakness does not count here.
func matches(header, tag string) bool {
	for one := range strings.SplitSeq(header, ",") {
		one = strings.TrimPrefix(strings.TrimSpace(one), "W/")
		if one == tag || one == "*" {
			return true
		}
	}
	return false
}

// sameBytes reports whether a range may be answered: no If-Range, or one that
// names these very bytes. Dates never do.
func sameBytes(ifRange, tag string) bool { return ifRange == "" || ifRange == tag }

// parseRange reads `bytes=from-to`, `bytes=from-` or `bytes=-last` of one range.
// ok is false if it is none of these; from > to if it lies beyond the end.
func parseRange(header string, size int64) (from, to int64, ok bool) {
	first, last, found := strings.Cut(strings.TrimPrefix(header, "bytes="), "-")
	if !found || !strings.HasPrefix(header, "bytes=") {
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

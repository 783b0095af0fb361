package jobs

import (
	"mime"
	"net/http"
	"slices"
	"strings"
)

// contentTypes are what an artifact can be called. Some of them are active: how
// they may be shown is the affair of whoever serves them.
func contentTypes() []string {
	return []string{
		"application/gzip", "application/json", "application/pdf", "application/x-gzip", "application/x-ndjson",
		"application/xml", "application/zip", "audio/mpeg", "audio/ogg", "audio/wav", "audio/wave", "image/avif",
		"image/bmp", "image/gif", "image/jpeg", "image/png", "image/svg+xml", "image/webp", "text/csv", "text/html",
		"text/markdown", "text/plain", "text/xml", "video/mp4", "video/webm",
	}
}

// contentTypeOf returns what an artifact is: what its sender says, if that is a
// known type, else what its first bytes look like, else octets.
func contentTypeOf(said string, head []byte) string {
	for _, text := range []string{said, http.DetectContentType(head)} {
		media, params, err := mime.ParseMediaType(text)
		if err != nil || !slices.Contains(contentTypes(), media) {
			continue
		}
		if strings.HasPrefix(media, "text/") && strings.EqualFold(params["charset"], "utf-8") {
			media += "; charset=utf-8"
		}
		return media
	}
	return "application/octet-stream"
}

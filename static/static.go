// Package static holds the embedded dashboard: one HTML file, its style and script
// modules, which nothing builds. It keeps to a strict Content-Security-Policy (no
// inline script or style, nothing from elsewhere). static/app.js says how it is made.
package static

import (
	"embed"
	"path"
	"regexp"
	"strings"
)

// Client holds the browser bundles of npm's socket.io-client and their source maps, as
// Socket.IO servers hand them out beside their own path, with their licences. They are
// not ours: scripts/vendor-client brings them, and SHA256SUMS pins them.
//
//go:embed socketio
var Client embed.FS

// FS holds the dashboard. What is in vendor is not ours: scripts/vendor-static brings it,
// and SHA256SUMS pins it.
//
//go:embed index.html style.css *.js ui pages vendor
var FS embed.FS

// Pages are the paths that index.html answers, below the base path; `:id` is one part of any
// kind. index.html and what it loads name each other by relative paths below `static/`.
var Pages = []string{"/", "/jobs", "/jobs/:id", "/submit", "/queues", "/connections", "/keys", "/overview", "/ways"}

var comment = regexp.MustCompile(`(?m)^[ \t]*//.*$`)

// Served is what servers hand out of a file of FS: in modules of ours, lines that hold nothing
// but a comment are empty. A reader of the source wants them, a page does not, and faults
// still have the numbers of their lines. No line of a text in a module may begin with `//`.
func Served(name string, text []byte) []byte {
	if path.Ext(name) != ".js" || strings.HasPrefix(name, "vendor/") {
		return text
	}
	return comment.ReplaceAll(text, nil)
}

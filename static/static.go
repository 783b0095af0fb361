// Package static holds the embedded dashboard: one HTML file, its style and script
// modules, all served as they are. It keeps to a strict Content-Security-Policy (no
// inline script or style, nothing from elsewhere). static/app.js says how it is made.
package static

import "embed"

// Client holds the browser bundles of npm's socket.io-client and their source maps, as
// Socket.IO servers hand them out beside their own path, with their licences. They are
// not ours: scripts/vendor-client brings them, and SHA256SUMS pins them.
//
//go:embed socketio
var Client embed.FS

// FS holds the dashboard. What is in vendor is not ours: scripts/vendor-static brings it,
// and SHA256SUMS pins it. The page of ways stands for itself.
//
//go:embed index.html style.css *.js ui pages vendor ways
var FS embed.FS

// Pages are the paths that index.html answers, below the base path; `:id` is one part of any
// kind. index.html and what it loads name each other by relative paths below `static/`.
var Pages = []string{"/", "/jobs", "/jobs/:id", "/submit", "/queues", "/connections", "/keys", "/overview"}

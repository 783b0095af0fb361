// Package static holds the embedded web page: one HTML file, its style and a
// few script modules, all served as they are. The page keeps to a strict
// Content-Security-Policy (no inline script or style, nothing from elsewhere).
package static

import "embed"

// Client holds the browser bundles of npm's socket.io-client and their source maps, as
// Socket.IO servers hand them out beside their own path, with their licences. They are
// not ours: scripts/vendor-client brings them, and SHA256SUMS pins them.
//
//go:embed socketio
var Client embed.FS

// FS holds index.html, style.css and the scripts at its root. The page is
// meant for `/`; it asks for everything else below `/static/`.
//
//go:embed index.html style.css *.js
var FS embed.FS

// Package static holds the embedded web page: one HTML file, its style and a
// few script modules, all served as they are. The page keeps to a strict
// Content-Security-Policy (no inline script or style, nothing from elsewhere).
package static

import "embed"

// FS holds index.html, style.css and the scripts at its root. The page is
// meant for `/`; it asks for everything else below `/static/`.
//
//go:embed index.html style.css *.js
var FS embed.FS

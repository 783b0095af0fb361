// Package js holds the JavaScript client as servers hand it out.
package js

import _ "embed" // for the module

// Module is client.js and its parts in one file, without comments: an ES module for browsers.
// `npm run build` in client/js makes it, and a test compares them.
//
//go:embed client.min.js
var Module []byte

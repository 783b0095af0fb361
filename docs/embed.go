// Package docs holds the two documents that describe the interface for machines, as a
// server hands them out: OpenAPI for REST, AsyncAPI for streams and sockets.
package docs

import (
	"bytes"
	"embed"
	"sync"
)

var (
	//go:embed openapi.yaml
	openapi []byte
	//go:embed asyncapi.yaml
	asyncapi []byte
)

// Site holds the page that shows both: index.html, its script and its style, at its root.
// It takes colours and sizes from the dashboard's style.css.
//
//go:embed site
var Site embed.FS

// OpenAPI returns docs/openapi.yaml as JSON, which nobody may change. The error is of a
// broken document, which a test would find.
var OpenAPI = sync.OnceValues(func() ([]byte, error) { return toJSON(openapi) })

// AsyncAPI does the same with docs/asyncapi.yaml. It refers to schemas of the other one, by
// the name that this one has beside it.
var AsyncAPI = sync.OnceValues(func() ([]byte, error) {
	return toJSON(bytes.ReplaceAll(asyncapi, []byte("openapi.yaml#"), []byte("openapi.json#")))
})

// Package docs holds the two documents that describe the interface for machines, as a
// server hands them out: OpenAPI for REST, AsyncAPI for streams and sockets.
package docs

import (
	"bytes"
	_ "embed" // for the documents
	"sync"
)

var (
	//go:embed openapi.yaml
	openapi []byte
	//go:embed asyncapi.yaml
	asyncapi []byte
)

// OpenAPI returns docs/openapi.yaml as JSON, which nobody may change. The error is of a
// broken document, which a test would find.
var OpenAPI = sync.OnceValues(func() ([]byte, error) { return toJSON(openapi) })

// AsyncAPI does the same with docs/asyncapi.yaml. It refers to schemas of the other one, by
// the name that this one has beside it.
var AsyncAPI = sync.OnceValues(func() ([]byte, error) {
	return toJSON(bytes.ReplaceAll(asyncapi, []byte("openapi.yaml#"), []byte("openapi.json#")))
})

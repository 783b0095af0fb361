package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"sync"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/docs"
)

// reference is the page that shows the documents, which all servers of a process share.
var reference = sync.OnceValue(func() map[string]fiber.Handler {
	files, _ := fs.Sub(docs.Site, "site") // its error is of the name
	return pages(files)
})

// documents puts the descriptions for machines on the application.
func (s *Server) documents() {
	s.app.Get("/openapi.json", document("openapi.json", func() ([]byte, error) {
		text, err := docs.OpenAPI()
		return atBase(text, s.set.BasePath), err
	}))
	s.app.Get("/asyncapi.json", document("asyncapi.json", docs.AsyncAPI))
	site := reference()
	s.app.Get("/docs", site["index.html"])
	s.app.Get("/docs/docs.js", site["docs.js"])
	s.app.Get("/docs/docs.css", site["docs.css"])
}

// document serves what read returns. It is read at the first request: it takes longer than
// many a server lives in a test.
func document(name string, read func() ([]byte, error)) fiber.Handler {
	ready := sync.OnceValues(func() (fiber.Handler, error) {
		text, err := read()
		if err != nil {
			return nil, fmt.Errorf("make %s: %w", name, err)
		}
		return content(name, text, revalidate), nil
	})
	return func(c *fiber.Ctx) error {
		serve, err := ready()
		if err != nil {
			return err
		}
		return serve(c)
	}
}

// atBase says in the OpenAPI document where the paths begin.
func atBase(text []byte, base string) []byte {
	if base == "" {
		return text
	}
	name, _ := json.Marshal(base) // a string always encodes
	return bytes.Replace(text, []byte(`"servers":[{"url":"/"`), append([]byte(`"servers":[{"url":`), name...), 1)
}

package server

import (
	"context"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"

	"github.com/jobcast/jobcast/docs"
	"github.com/jobcast/jobcast/static"
)

// TestRoutesAreDocumented: each route that a server registers is in the OpenAPI document,
// and each operation of the document is a route. Pages and their files are none of the interface.
func TestRoutesAreDocumented(t *testing.T) {
	pages := regexp.MustCompile(`^(/static/.*|/client\.js|/docs|/docs/docs\.(js|css)|/socket\.io|/socket\.io/socket\.io.*)$`)
	var set Config
	parser, err := kong.New(&set)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse([]string{"--data=" + t.TempDir(), "--log-level=error"}); err != nil {
		t.Fatal(err)
	}
	s, err := New(context.Background(), &set, set.Logger(t.Output()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.discard() }()
	served := map[string]bool{}
	for _, r := range s.app.GetRoutes(true) {
		path := regexp.MustCompile(`:(\w+)`).ReplaceAllString(r.Path, "{$1}")
		switch {
		case pages.MatchString(path), slices.Contains(static.Pages, r.Path), r.Method == "HEAD", r.Method == "OPTIONS":
		case path == "/socket.io/" && r.Method != "GET" && r.Method != "POST": // Engine.IO refuses them itself
		default:
			served[r.Method+" "+path] = true
		}
	}
	text, err := docs.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	described := map[string]bool{}
	for path, item := range doc.Paths {
		for method := range item {
			if method != "parameters" {
				described[strings.ToUpper(method)+" "+path] = true
			}
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(served)), slices.Sorted(maps.Keys(described))); diff != "" {
		t.Errorf("routes: -server +openapi.yaml\n%s", diff)
	}
}

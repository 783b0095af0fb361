package static_test

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"testing"

	"github.com/jobcast/jobcast/static"
)

// reference matches what one file of the page asks of another.
var reference = regexp.MustCompile(`(?:src=|href=|from |url\()"([^"]+)"`)

// TestReferences: the page asks only for its own files below static/, as seen from
// where it is (and for the icon that stands in it), and each of them is there.
func TestReferences(t *testing.T) {
	asked := map[string]bool{"index.html": true}
	for name, text := range files(t) {
		for _, m := range reference.FindAllStringSubmatch(text, -1) {
			target := m[1]
			if strings.HasPrefix(target, "data:image/") {
				continue
			}
			from := "./" // of a script, which is there already
			if name == "index.html" {
				from = "static/"
			}
			path, own := strings.CutPrefix(target, from)
			if _, err := fs.Stat(static.FS, path); !own || err != nil {
				t.Errorf("%s asks for %q: not below static/ or not there", name, target)
			}
			asked[path] = true
		}
	}
	for name := range files(t) {
		if !asked[name] {
			t.Errorf("nothing asks for %s", name)
		}
	}
}

// inline matches what a policy without 'unsafe-inline' and 'unsafe-eval'
// forbids in HTML.
var inline = regexp.MustCompile(`(?i)<style|<script(?:\s+type="\w+")?>|\sstyle=|\son\w+=|javascript:`)

func TestNothingInline(t *testing.T) {
	page := files(t)["index.html"]
	if found := inline.FindString(page); found != "" {
		t.Errorf("index.html has %q, which the policy forbids", found)
	}
	for _, bad := range []string{`<p onclick="x()">`, `<script>`, `<p style="color:red">`, `<style>`} {
		if !inline.MatchString(bad) {
			t.Errorf("the check does not see %q", bad)
		}
	}
}

// TestClientBundles: the vendored files are those that were pinned, and all of them.
func TestClientBundles(t *testing.T) {
	sums, err := fs.ReadFile(static.Client, "socketio/SHA256SUMS")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"LICENSE": "", "SHA256SUMS": ""}
	for line := range strings.Lines(string(sums)) {
		sum, name, ok := strings.Cut(strings.TrimSpace(line), "  ")
		if !ok {
			t.Fatalf("line %q", line)
		}
		want[name] = sum
	}
	found, err := fs.ReadDir(static.Client, "socketio")
	if err != nil || len(found) != len(want) || len(want) != 8 {
		t.Errorf("%d files and %d sums: %v", len(found), len(want), err)
	}
	for _, f := range found {
		data, err := fs.ReadFile(static.Client, "socketio/"+f.Name())
		if sum := fmt.Sprintf("%x", sha256.Sum256(data)); err != nil || want[f.Name()] != "" && sum != want[f.Name()] {
			t.Errorf("%s is not the file that was pinned: %v", f.Name(), err)
		}
	}
}

func files(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := fs.WalkDir(static.FS, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(static.FS, path)
		all[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

package static_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/jobcast/jobcast/client/js"
	"github.com/jobcast/jobcast/static"
)

// reference matches what one file of the page asks of another.
var reference = regexp.MustCompile(`(?:src=|href=|from ?|import\(|url\(|URL\()"([^"$]+\.(?:js|css|html|svg))"`)

// TestReferences: the page asks only for its own files, by relative paths, and each of
// them is there and asked for. Only client.js comes from elsewhere in the program.
func TestReferences(t *testing.T) {
	asked := map[string]bool{"index.html": true, "vendor/uplot.js": true, "vendor/uplot.css": true}
	for name, text := range files(t) {
		for _, m := range reference.FindAllStringSubmatch(text, -1) {
			target := path.Join(path.Dir(name), m[1])
			if strings.HasSuffix(name, ".html") {
				target = strings.TrimPrefix(m[1], "static/")
			}
			if _, err := fs.Stat(static.FS, target); err != nil && target != "client.js" || strings.Contains(m[1], ":") {
				t.Errorf("%s asks for %q, which is not there", name, m[1])
			}
			asked[target] = true
		}
	}
	for name := range files(t) {
		if ext := path.Ext(name); !asked[name] && ext != "" {
			t.Errorf("nothing asks for %s", name)
		}
	}
}

// What the dashboard may weigh, packed, in bytes: all that a browser loads for any one page, on
// its first visit, and all files together, which are loaded by who goes to every page.
const (
	budget = 120 << 10
	whole  = 144 << 10
)

// weights packs what is served of each file.
func weights(t *testing.T) map[string]int {
	t.Helper()
	all := files(t)
	all["client.js"] = string(js.Module)
	packed := make(map[string]int)
	for name, text := range all {
		if path.Ext(name) == "" {
			continue // licences and sums
		}
		var out bytes.Buffer
		w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(static.Served(name, []byte(text))); err != nil || w.Close() != nil {
			t.Fatal(err)
		}
		packed[name] = out.Len()
	}
	return packed
}

// load adds what a browser loads for a file. Pages are those that the router imports, and only
// when they are gone to.
func load(all map[string]string, name string, loaded map[string]bool) {
	if loaded[name] {
		return
	}
	loaded[name] = true
	for _, m := range reference.FindAllStringSubmatch(all[name], -1) {
		switch {
		case name == "router.js" && strings.HasPrefix(m[0], "import("):
		case strings.HasSuffix(name, ".html"):
			load(all, strings.TrimPrefix(m[1], "static/"), loaded)
		default:
			load(all, path.Join(path.Dir(name), m[1]), loaded)
		}
	}
}

func TestWeight(t *testing.T) {
	all, packed := files(t), weights(t)
	pages := 0
	for _, m := range reference.FindAllStringSubmatch(all["router.js"], -1) {
		if !strings.HasPrefix(m[0], "import(") {
			continue
		}
		pages++
		loaded := make(map[string]bool)
		load(all, "index.html", loaded)
		load(all, path.Join(m[1]), loaded)
		total := 0
		for name := range loaded {
			total += packed[name]
		}
		t.Logf("%s: %d files, %d bytes", m[1], len(loaded), total)
		if total > budget || total < budget/6 {
			t.Errorf("a visit of %s loads %d bytes, want no more than %d", m[1], total, budget)
		}
	}
	total := 0
	for _, n := range packed {
		total += n
	}
	if pages < 5 || total > whole {
		t.Errorf("the dashboard has %d bytes in %d pages, want no more than %d", total, pages, whole)
	}
}

// inline matches what a policy without 'unsafe-inline' and 'unsafe-eval'
// forbids in HTML.
var inline = regexp.MustCompile(`(?i)<style|<script(?:\s+type="\w+")?>|\sstyle=|\son\w+=|javascript:`)

func TestNothingInline(t *testing.T) {
	for name, text := range files(t) {
		if found := inline.FindString(text); strings.HasSuffix(name, ".html") && found != "" {
			t.Errorf("%s has %q, which the policy forbids", name, found)
		}
	}
	for _, bad := range []string{`<p onclick="x()">`, `<script>`, `<p style="color:red">`, `<style>`} {
		if !inline.MatchString(bad) {
			t.Errorf("the check does not see %q", bad)
		}
	}
}

// TestVendored: the vendored files are those that were pinned, and all of them.
func TestVendored(t *testing.T) {
	for _, v := range []struct {
		fs     fs.ReadFileFS
		folder string
		files  int
	}{{static.Client, "socketio", 8}, {static.FS, "vendor", 9}} {
		sums, err := v.fs.ReadFile(v.folder + "/SHA256SUMS")
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
		found, err := fs.ReadDir(v.fs, v.folder)
		if err != nil || len(found) != len(want) || len(want) != v.files {
			t.Errorf("%s: %d files and %d sums: %v", v.folder, len(found), len(want), err)
		}
		for _, f := range found {
			data, err := v.fs.ReadFile(v.folder + "/" + f.Name())
			if sum := fmt.Sprintf("%x", sha256.Sum256(data)); err != nil || want[f.Name()] != "" && sum != want[f.Name()] {
				t.Errorf("%s is not the file that was pinned: %v", f.Name(), err)
			}
		}
	}
}

func files(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := fs.WalkDir(static.FS, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := static.FS.ReadFile(name)
		all[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	// place is a file that a paper names, and perhaps what is declared in it:
	// `a/b.go` (`f`, `T.m`).
	place = regexp.MustCompile("`([\\w./-]+\\.(?:go|js))`(?:\\s+\\(((?:`[\\w.]+`(?:,\\s+)?)+)\\))?")
	// proof is a link to a test: [`TestX`](a/b_test.go).
	proof = regexp.MustCompile("\\[`(Test\\w+)`\\]\\(([\\w./-]+)\\)")
	// script finds the functions of JavaScript.
	script = regexp.MustCompile(`(?m)^(?:export )?(?:async )?function (\w+)`)
)

// TestArchitecture: the files and declarations that the paper names are there, and an
// event and a submit make as many stops as it says.
func TestArchitecture(t *testing.T) {
	text := read(t, "architecture.md")
	named := checkPlaces(t, text)
	if named < 60 {
		t.Errorf("only %d places were found", named)
	}
	for heading, want := range map[string]int{"An event, from worker to browser": 7, "A submit": 6} {
		_, section, _ := strings.Cut(text, "\n## "+heading+"\n")
		section, _, _ = strings.Cut(section, "\n## ")
		stops := regexp.MustCompile(`(?m)^\d\. `).Split(section, -1)[1:]
		if len(stops) != want {
			t.Errorf("%q has %d stops, want %d", heading, len(stops), want)
		}
		for i, s := range stops {
			if !place.MatchString(s) {
				t.Errorf("%q, stop %d names no file", heading, i+1)
			}
		}
	}
}

// checkPlaces returns how many places text names; what is not there is an error.
func checkPlaces(t *testing.T, text string) (named int) {
	t.Helper()
	for _, m := range place.FindAllStringSubmatch(text, -1) {
		if _, err := os.Stat(filepath.Join("..", m[1])); err != nil {
			t.Errorf("%s: %v", m[1], err)
			continue
		}
		named++
		known := declared(t, filepath.Join("..", m[1]))
		for _, name := range strings.FieldsFunc(m[2], func(r rune) bool { return strings.ContainsRune("`, \n", r) }) {
			if named++; !known[name] {
				t.Errorf("%s does not declare %s", m[1], name)
			}
		}
	}
	return named
}

// declared returns the functions, methods (T.m) and types of a file.
func declared(t *testing.T, name string) map[string]bool {
	t.Helper()
	known := map[string]bool{}
	if strings.HasSuffix(name, ".js") {
		for _, m := range script.FindAllStringSubmatch(read(t, name), -1) {
			known[m[1]] = true
		}
		return known
	}
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			known[receiver(d)+d.Name.Name] = true
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if one, ok := spec.(*ast.TypeSpec); ok {
					known[one.Name.Name] = true
				}
			}
		}
	}
	return known
}

// receiver is the type of a method and a dot; of a function it is empty.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return ""
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if generic, ok := typ.(*ast.IndexExpr); ok {
		typ = generic.X
	}
	return typ.(*ast.Ident).Name + "."
}

// TestProofs: each promise of the README has a test that is there.
func TestProofs(t *testing.T) {
	_, section, _ := strings.Cut(read(t, "../README.md"), "\n## What it promises\n")
	section, _, _ = strings.Cut(section, "\n## ")
	promises := 0
	for line := range strings.Lines(section) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| promise |") {
			continue
		}
		promises++
		proofs := proof.FindAllStringSubmatch(line, -1)
		if len(proofs) == 0 {
			t.Errorf("no proof: %s", line)
		}
		for _, m := range proofs {
			if !strings.HasSuffix(m[2], "_test.go") || !declared(t, filepath.Join("..", m[2]))[m[1]] {
				t.Errorf("%s is not in %s", m[1], m[2])
			}
		}
	}
	if promises < 9 {
		t.Errorf("only %d promises were found", promises)
	}
}

// notFolders are those that no checkout has, or that say nothing to a reader.
var notFolders = map[string]bool{"bin": true, "data": true, "node_modules": true, "testdata": true, "migrations": true, "screenshots": true}

// TestLayout: the README's layout names every folder of the tree, but not those of each peer
// and of each page, and none that is not there.
func TestLayout(t *testing.T) {
	_, section, _ := strings.Cut(read(t, "../README.md"), "\n## Layout\n")
	section, _, _ = strings.Cut(section, "\n## ")
	named := map[string]bool{}
	for _, m := range regexp.MustCompile("`([\\w/]+)/`").FindAllStringSubmatch(section, -1) {
		named[path.Base(m[1])] = false
	}
	err := filepath.WalkDir("..", func(name string, entry fs.DirEntry, err error) error {
		base := entry.Name()
		switch {
		case err != nil:
			return err
		case !entry.IsDir() || name == "..":
			return nil
		case notFolders[base] || strings.HasPrefix(base, "."):
			return fs.SkipDir
		}
		above := filepath.ToSlash(filepath.Dir(name))
		if _, ok := named[base]; !ok && !strings.HasPrefix(above, "../bench/peers") && above != "../static/pages" {
			t.Errorf("the layout does not name %s", name)
		}
		named[base] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for base, there := range named {
		if !there {
			t.Errorf("the layout names %s/, which is not there", base)
		}
	}
}

// TestLinks: what the papers link to in this tree is there.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:\s]+)(?:#[^)]*)?\)`)
	for _, paper := range []string{"../README.md", "../CONTRIBUTING.md", "../examples/README.md", "README.md", "architecture.md", "browser-jobs.md", "concepts.md",
		"decisions.md", "protocol.md", "proxies.md", "quick-start.md", "security.md", "socketio.md", "transports.md", "workers.md"} {
		for _, m := range link.FindAllStringSubmatch(read(t, paper), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(paper), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", paper, m[1], err)
			}
		}
	}
}

// TestGuides: the list of documents names each that is there. The guides show no command
// that is not run: their commands stand in blocks of console, and those are run.
func TestGuides(t *testing.T) {
	list := read(t, "README.md")
	papers, err := filepath.Glob("*.md")
	if err != nil || len(papers) < 12 {
		t.Fatalf("%q, %v", papers, err)
	}
	run := read(t, "docs_test.go")
	for _, paper := range papers {
		if paper != "README.md" && !strings.Contains(list, "]("+paper+")") {
			t.Errorf("README.md does not name %s", paper)
		}
		text := read(t, paper)
		if strings.Contains(text, "\n```console\n") && !strings.Contains(run, `"`+paper+`":`) {
			t.Errorf("the commands of %s are not run", paper)
		}
		guide := paper != "socketio.md" && paper != "browser-jobs.md" // written before, with commands to start servers
		if guide && regexp.MustCompile("(?m)^```(sh|bash|shell)$").MatchString(text) {
			t.Errorf("%s has commands that are not run", paper)
		}
	}
}

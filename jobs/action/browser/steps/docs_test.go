package steps

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The protocol names every step and its members, as its schema does.
func TestProtocolNamesSteps(t *testing.T) {
	paper, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "docs", "protocol.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(paper), "\n### Browser steps\n")
	section, _, _ = strings.Cut(section, "\n### ")
	type row struct{ Element, Members string }
	told, is := map[string]row{}, map[string]row{}
	word := regexp.MustCompile("`(\\w+)`")
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (yes |may |)\\| ([^|]*)\\|").FindAllStringSubmatch(section, -1) {
		var members []string
		for _, w := range word.FindAllStringSubmatch(m[3], -1) {
			members = append(members, w[1])
		}
		slices.Sort(members)
		told[m[1]] = row{strings.TrimSpace(m[2]), strings.Join(members, " ")}
	}
	common := []string{"type", "timeout", "target", "frame", "assertedEvents", "selectors", "selector"}
	for _, kind := range Types() {
		var s struct {
			Properties map[string]any
			OneOf, Not any
		}
		if err := json.Unmarshal(Schema(kind), &s); err != nil {
			t.Fatal(err)
		}
		var members []string
		for name := range s.Properties {
			if !slices.Contains(common, name) {
				members = append(members, name)
			}
		}
		slices.Sort(members)
		element := map[bool]string{s.OneOf != nil: "yes", s.Not != nil: "may"}[true]
		is[kind] = row{element, strings.Join(members, " ")}
	}
	if diff := cmp.Diff(is, told); diff != "" {
		t.Errorf("the schemas (-) and the protocol (+) differ:\n%s", diff)
	}
}

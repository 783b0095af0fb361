package steps

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
)

// alternative is one way to find an element: a path through shadow roots, mostly of one
// part. The element is the last part's first match.
type alternative []part

// part finds elements in a document or in a shadow root.
type part struct {
	Kind  string `json:"kind"`  // css, pierce, xpath, text, or aria: by name and role
	Value string `json:"value"` // CSS, XPath, the text, or the accessible name
	Role  string `json:"role,omitempty"`
	Exact bool   `json:"exact,omitempty"` // the whole text, not a part of it
	Fold  bool   `json:"fold,omitempty"`  // without regard to case

	source string
}

// named reports whether the browser's accessibility tree finds it, not a script.
func (p part) named() bool { return p.Kind == "aria" }

// String is the alternative as its client wrote it, for messages.
func (a alternative) String() string {
	sources := make([]string, len(a))
	for i, p := range a {
		sources[i] = p.source
	}
	return strings.Join(sources, " >>> ")
}

// selectors reads the step's alternatives.
func (s *Step) selectors(f *faults) {
	if s.Selector != "" {
		s.alternatives = []alternative{{f.part("/selector", s.Selector)}}
	}
	for i, raw := range s.Selectors {
		at := "/selectors/" + strconv.Itoa(i)
		var one string
		if json.Unmarshal(raw, &one) == nil {
			s.alternatives = append(s.alternatives, alternative{f.part(at, one)})
			continue
		}
		var path []string
		_ = json.Unmarshal(raw, &path) // the schema allows nothing else
		var a alternative
		for j, source := range path {
			a = append(a, f.part(at+"/"+strconv.Itoa(j), source))
		}
		s.alternatives = append(s.alternatives, a)
	}
}

// part reads one selector by its prefix.
func (f *faults) part(at, source string) part {
	p := part{Kind: "css", Value: source, source: source}
	prefix, rest, found := cutPrefix(source, "aria/", "text/", "xpath/", "pierce/", "css/", "role=", "text=")
	if found {
		p.Kind, p.Value = strings.TrimRight(prefix, "/="), rest
	}
	switch prefix {
	case "aria/":
		f.aria(at, &p)
	case "role=":
		f.role(at, &p)
	case "text=":
		p.Fold = true
		if quoted := strings.Trim(p.Value, " "); len(quoted) >= 2 && (quoted[0] == '"' || quoted[0] == '\'') && quoted[len(quoted)-1] == quoted[0] {
			p.Value, p.Exact, p.Fold = unescape(quoted[1:len(quoted)-1]), true, false
		}
	}
	if strings.TrimSpace(p.Value) == "" && p.Role == "" {
		f.addf(at, "must say what to look for")
	}
	return p
}

func cutPrefix(s string, prefixes ...string) (prefix, rest string, found bool) {
	for _, p := range prefixes {
		if rest, found := strings.CutPrefix(s, p); found {
			return p, rest, true
		}
	}
	return "", s, false
}

// attributes of an aria selector: [name="…"] and [role="…"].
var ariaAttribute = regexp.MustCompile(`\[\s*([A-Za-z]+)\s*=\s*("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')\s*\]`)

// aria reads what follows aria/: an accessible name, and attributes as Puppeteer has them.
func (f *faults) aria(at string, p *part) {
	name := p.Value
	p.Exact, p.Value = true, ""
	for _, m := range ariaAttribute.FindAllStringSubmatch(name, -1) {
		value := unescape(m[2][1 : len(m[2])-1])
		switch m[1] {
		case "name":
			p.Value = value
		case "role":
			p.Role = value
		default:
			continue
		}
		name = strings.Replace(name, m[0], "", 1)
	}
	if name = strings.Join(strings.Fields(name), " "); name != "" {
		if p.Value != "" {
			f.addf(at, "has two names")
		}
		p.Value = name
	}
}

// roleSelector is role=ROLE[name="…"], with an i after the text for any case.
var roleSelector = regexp.MustCompile(`^([A-Za-z]+)\s*(?:\[\s*name\s*=\s*("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')\s*([is]?)\s*\])?\s*$`)

// role reads what follows role=.
func (f *faults) role(at string, p *part) {
	m := roleSelector.FindStringSubmatch(strings.TrimSpace(p.Value))
	p.Kind, p.Value, p.Exact = "aria", "", true
	if m == nil {
		f.addf(at, `must be role=ROLE or role=ROLE[name="…"]`)
		p.Role = "none" // one fault is enough
		return
	}
	p.Role, p.Fold = strings.ToLower(m[1]), m[3] == "i"
	if m[2] != "" {
		p.Value = unescape(m[2][1 : len(m[2])-1])
	}
}

// unescape takes the backslashes out of a quoted text.
func unescape(s string) string {
	var b strings.Builder
	escaped := false
	for _, r := range s {
		if escaped = r == '\\' && !escaped; !escaped {
			b.WriteRune(r)
		}
	}
	return b.String()
}

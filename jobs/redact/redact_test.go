package redact

import (
	"encoding/base64"
	"encoding/json"
	"html"
	"net/url"
	"strings"
	"testing"
)

// A secret is taken out of a text in whatever spelling it stands there, and nothing else is.
func TestRedact(t *testing.T) {
	t.Parallel()
	var d Redactor
	if got := d.Text("all of it"); got != "all of it" {
		t.Errorf("without secrets: %q", got)
	}
	value := "p\"a&s <w>ö\\r/d+\n'%😀"
	d.Add("")
	d.Add(value)
	d.Add("other")
	encoded, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	twice, err := json.Marshal(string(encoded))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"itself": value, "JSON": string(encoded[1 : len(encoded)-1]), "JSON in JSON": string(twice[3 : len(twice)-3]),
		"query": url.QueryEscape(value), "path": url.PathEscape(value), "twice in a URL": url.QueryEscape(url.QueryEscape(value)),
		"some of it in a URL": strings.ReplaceAll(value, " ", "%20"), "HTML": html.EscapeString(value),
		"HTML of browsers": strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(value),
		"ASCII":            "p\\u0022a\\u0026s\\u0020\\u003Cw\\u003e\\u00F6\\\\r\\/d+\\n\\u0027%\\ud83d\\ude00",
		"base64 0":         base64.StdEncoding.EncodeToString([]byte("abc" + value)), "base64 1": base64.StdEncoding.EncodeToString([]byte("user:" + value + "x")),
		"base64 2": base64.URLEncoding.EncodeToString([]byte("a" + value)), "beside another": value + "other",
	} {
		got := d.Text("[" + text + "] other")
		if strings.Contains(got, "s") || !strings.HasSuffix(got, "] ***") || strings.Count(got, redacted) < 2 || len(got) > 30 {
			t.Errorf("%s: %q of %q", name, got, text)
		}
	}
	for _, text := range []string{"p a s", "othe", "%2B", "***"} {
		if got := d.Text(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
	// A field takes its line breaks out, a page shows one space, and a file's name has neither.
	d.Add("  two \t\u200bwor:d*s\r\nof it ")
	d.Add(" ? ")
	for _, text := range []string{"  two \t\u200bwor:d*s\r\nof it ", "two \t\u200bwor:d*s\nof it", "two \t\u200bwor:d*sof it", "two \u200bwor:d*s of it", "two wor:d*s of it"} {
		if got := d.Text("[" + text + "]"); strings.Trim(got, "[ ]") != redacted {
			t.Errorf("%q became %q", text, got)
		}
	}
	d.Add(`Pa/ss"W o:rd*9~`)
	for _, name := range []string{`f Pa/ss"W o:rd*9~.txt`, "f Pa_ss_W o_rd_9-.txt"} {
		if got := d.FileName(name, cleaned); strings.Trim(got, "f_-.tx") != "" {
			t.Errorf("the file %q is %q", name, got)
		}
	}
	if got := d.FileName("tea list_9.txt", cleaned); got != "tea_list_9.txt" {
		t.Errorf("a file without secrets is %q", got)
	}
}

// Secrets that overlap are taken out together, and a cut leaves no part of one.
func TestRedactCut(t *testing.T) {
	t.Parallel()
	var d Redactor
	d.Add("abcd")
	d.Add("cdef")
	d.Add(strings.Repeat("x", 5000))
	for _, c := range []struct {
		text   string
		limit  int
		want   string
		longer bool
	}{
		{"-abcdef-", 8, "-***-", false}, {"-abcdefcdef", 11, "-******", false}, {"12abcd", 3, "12***", true}, {"12abcd", 2, "12", true},
		{"abcdabcd12", 9, "******1", true}, {"äö", 3, "ä", true}, {strings.Repeat("x", 5001), 4096, "***", true}, {"", 0, "", false},
	} {
		if got, longer := d.Cut(c.text, c.limit); got != c.want || longer != c.longer {
			t.Errorf("%q to %d: %q, %v", c.text, c.limit, got, longer)
		}
	}
	got, err := d.Value(json.RawMessage(`{"abcd":[1,"<cdef>\n",null,true],"n":1}`))
	if want := `{"***":[1,"<***>\n",null,true],"n":1}`; err != nil || string(got) != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
	d.Add("123")
	if got, err := d.Value(json.RawMessage(`[51234,5,1e2]`)); err != nil || string(got) != `["5***4",5,1e2]` {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := d.Value(json.RawMessage(`{`)); err == nil {
		t.Error("it took what is no JSON")
	}
}

// cleaned is a file's name as artifacts have it.
func cleaned(name string) string {
	return strings.Map(func(c rune) rune {
		if plain(c) || c == '.' || c == '_' || c == '-' {
			return c
		}
		return '_'
	}, name)
}

package docs_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobcast/jobcast/e2e/program"
)

// scriptTimeout bounds one document's commands. An example that hangs is a
// fault of the example or of the server.
const scriptTimeout = 5 * time.Minute

// command is one `$ …` line of a console block and what it must print.
type command struct {
	line int // of the `$`, counted from 1
	text string
	want string
}

// TestExamples runs every console block of the papers against a real server.
// The commands of one paper run in one shell, in order, so that a variable set
// by one is there for the next.
func TestExamples(t *testing.T) {
	binary := program.Build(t)
	keyFile := filepath.Join(t.TempDir(), "secrets.key")
	if err := os.WriteFile(keyFile, []byte(strings.Repeat("a", 64)), 0o600); err != nil {
		t.Fatal(err)
	}
	for paper, flags := range map[string][]string{
		"../README.md": nil, "protocol.md": nil, "quick-start.md": nil, "transports.md": nil, "proxies.md": nil, "workers.md": nil, "security.md": nil,
		"browser-jobs.md": {"--allow-private-addresses", "--secret-key-file=" + keyFile},
	} {
		t.Run(paper, func(t *testing.T) {
			t.Parallel()
			source, err := os.ReadFile(paper)
			if err != nil {
				t.Fatal(err)
			}
			commands := parse(string(source))
			if len(commands) == 0 {
				t.Fatal("no examples")
			}
			server := program.Start(t, binary, flags...)
			for i, got := range run(t, binary, server, commands) {
				c := commands[i]
				if !matches(c.want, got.output) {
					t.Errorf("%s:%d: $ %s\n--- want\n%s\n--- got\n%s", paper, c.line, c.text, c.want, got.output)
				}
				if got.status != "0" {
					t.Errorf("%s:%d: $ %s\nended with status %s", paper, c.line, c.text, got.status)
				}
			}
		})
	}
}

var (
	// settingRow matches a row of the README's table of settings.
	settingRow = regexp.MustCompile("(?m)^\\| `(--[a-z-]+)` \\| `([A-Z_`, ]+)` \\| `?([^|`]+)`? \\|")
	// settingHelp matches one flag of the help text, joined to one line.
	settingHelp = regexp.MustCompile(`(--[a-z-]+)(?:=(\S+))? [^(]*\((?:CIDR\)[^(]*\()?([$A-Z_, ]+)\)`)
)

// TestSettings: the README lists the flags of serve, their variables and their
// defaults exactly as the program does.
func TestSettings(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string][2]string{}
	for _, m := range settingRow.FindAllStringSubmatch(string(readme), -1) {
		fallback := m[3]
		if fallback == "off" || fallback == "none" {
			fallback = ""
		}
		listed[m[1]] = [2]string{strings.NewReplacer("`", "", ",", "").Replace(m[2]), fallback}
	}
	help, err := exec.CommandContext(t.Context(), program.Build(t), "serve", "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	_, flags, _ := strings.Cut(string(help), "--help")
	offered := map[string][2]string{}
	for _, m := range settingHelp.FindAllStringSubmatch(strings.Join(strings.Fields(flags), " "), -1) {
		fallback := strings.TrimSuffix(strings.Trim(m[2], `"`), ",...")
		if strings.ToUpper(fallback) == fallback && strings.Contains(m[1], strings.ToLower(fallback)) {
			fallback = "" // the name of the value stands where a default would
		}
		offered[m[1]] = [2]string{strings.NewReplacer("$", "", ",", "").Replace(m[3]), fallback}
	}
	if diff := cmp.Diff(offered, listed); diff != "" || len(offered) == 0 {
		t.Errorf("settings: -program +README\n%s", diff)
	}
}

// parse finds the commands of all fenced blocks marked console. A line that
// begins with "$ " is a command, and goes on while lines end in a backslash;
// what follows is its output.
func parse(paper string) []command {
	var commands []command
	inside, continued := false, false
	for i, line := range strings.Split(paper, "\n") {
		switch {
		case !inside:
			inside = line == "```console"
		case line == "```":
			inside, continued = false, false
		case continued:
			c := &commands[len(commands)-1]
			c.text += "\n" + line
			continued = strings.HasSuffix(line, `\`)
		case strings.HasPrefix(line, "$ "):
			commands = append(commands, command{line: i + 1, text: line[2:]})
			continued = strings.HasSuffix(line, `\`)
		case len(commands) > 0:
			commands[len(commands)-1].want += line + "\n"
		}
	}
	return commands
}

type result struct{ output, status string }

// run executes the commands in one bash and returns what each printed. They are in a folder
// that has what they use of a clone, and $SITE is where the pages of the examples are.
func run(t *testing.T, binary string, server *program.Server, commands []command) []result {
	t.Helper()
	site := httptest.NewServer(http.FileServer(http.Dir("../examples/site")))
	defer site.Close()
	examples, err := filepath.Abs("../examples")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, to := range map[string]string{"bin": filepath.Dir(binary), "data": server.Data, "examples": examples} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	// A line that no output contains separates the commands' outputs.
	const mark = "\x1e--- end of command, status "
	var script strings.Builder
	for _, c := range commands {
		fmt.Fprintf(&script, "%s\nprintf '%s%%s\\n' $?\n", c.text, mark)
	}
	ctx, cancel := context.WithTimeout(t.Context(), scriptTimeout)
	defer cancel()
	bash := exec.CommandContext(ctx, "bash", "-c", script.String())
	bash.Dir = dir
	bash.Env = append(program.Environ(), "URL="+server.URL, "KEY="+server.Key, "SITE="+site.URL)
	var out bytes.Buffer
	bash.Stdout, bash.Stderr = &out, &out
	if err := bash.Run(); err != nil {
		t.Fatalf("run the examples: %v\n%s", err, out.String())
	}
	var results []result
	rest := out.String()
	for range commands {
		output, after, ok := strings.Cut(rest, mark)
		if !ok {
			t.Fatalf("the shell ended early:\n%s", out.String())
		}
		status, next, _ := strings.Cut(after, "\n")
		results = append(results, result{output, status})
		rest = next
	}
	return results
}

// matches compares line by line. "…" stands for any text of one line; a line
// that is only "…" for any number of whole lines. Spaces at line ends and
// blank lines at the end do not count.
func matches(want, got string) bool {
	var pattern strings.Builder
	pattern.WriteString(`\A`)
	for _, line := range strings.Split(strings.TrimRight(want, "\n"), "\n") {
		if line == "…" {
			pattern.WriteString(`(?:.*\n)*?`)
			continue
		}
		parts := strings.Split(line, "…")
		for i, part := range parts {
			parts[i] = regexp.QuoteMeta(part)
		}
		pattern.WriteString(strings.Join(parts, ".*") + `[ \r]*\n`)
	}
	pattern.WriteString(`\z`)
	return regexp.MustCompile(pattern.String()).MatchString(strings.TrimRight(got, "\r\n") + "\n")
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		want, got string
		ok        bool
	}{
		{"", "", true},
		{"a\n", "a\n", true},
		{"a\n", "a", true},
		{"a\n", "b\n", false},
		{"a\n", "a\nb\n", false},
		{"a…c\n", "abbbc\n", true},
		{"a…c\n", "ab\nc\n", false},
		{"a.c\n", "abc\n", false},
		{"a\n…\nb\n", "a\nb\n", true},
		{"a\n…\nb\n", "a\n1\n2\nb\n", true},
		{"a\n…\n", "a\nwhatever\n", true},
		{"a\n…\nb\n", "a\n1\n", false},
	} {
		if got := matches(c.want, c.got); got != c.ok {
			t.Errorf("matches(%q, %q) = %v", c.want, c.got, got)
		}
	}
}

func TestParse(t *testing.T) {
	paper := "text\n```sh\n$ no\n```\n```console\n$ one \\\n  more\nout\n\n$ two\n```\nafter\n"
	got := parse(paper)
	if len(got) != 2 || got[0] != (command{6, "one \\\n  more", "out\n\n"}) || got[1] != (command{10, "two", ""}) {
		t.Errorf("parse = %+v", got)
	}
}

package docs_test

import (
	"bufio"
	"bytes"
	"context"
	"debug/elf"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jobcast/jobcast/e2e/program"
)

// instruction is one of a Dockerfile, with its flags apart.
type instruction struct {
	name  string // FROM, RUN, …
	flags map[string]string
	rest  string
}

// words are what follows the flags: a JSON list, or what blanks separate.
func (i instruction) words(t *testing.T) []string {
	t.Helper()
	text := strings.TrimPrefix(i.rest, "CMD ") // of a HEALTHCHECK
	if !strings.HasPrefix(text, "[") {
		return strings.Fields(text)
	}
	var list []string
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatalf("%s %s: %v", i.name, i.rest, err)
	}
	return list
}

// stage is a FROM and what follows it, run in a folder that stands for its root.
type stage struct {
	from string
	root string
	dir  string // WORKDIR
	env  []string
	last map[string]instruction // the last of each name
}

// at returns where an absolute or relative path of the stage is on this machine.
func (s *stage) at(name string) string {
	if !path.IsAbs(name) {
		name = path.Join("/", s.dir, name)
	}
	return filepath.Join(s.root, name)
}

// authorities is where Debian's package ca-certificates has them.
const authorities = "/etc/ssl/certs/ca-certificates.crt"

// fill puts there what the base image has and a step needs: golang's has git, which needs
// the package ca-certificates, and Debian's slim image has hardly anything.
func (s *stage) fill(t *testing.T) {
	t.Helper()
	if !strings.HasPrefix(s.from, "golang:") {
		return
	}
	if err := os.MkdirAll(filepath.Dir(s.at(authorities)), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.at(authorities), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// absolute finds absolute paths in a command.
var absolute = regexp.MustCompile(`(^|[\s="'])(/[\w.-]+)`)

// TestDockerfile does what the Dockerfile says, as far as that goes without a container
// engine: it builds in a copy of what an engine would be sent, copies from stage to
// stage, starts what the image starts and asks for its health as the image does. It
// cannot tell whether the two base images exist and hold what is assumed of them.
func TestDockerfile(t *testing.T) {
	ignored := dockerignore(t)
	for line := range strings.Lines(read(t, "../.gitignore")) {
		if line = strings.Trim(strings.TrimSpace(line), "/"); line != "" && !strings.HasPrefix(line, "#") && !kept(ignored, line) {
			t.Errorf(".dockerignore does not keep %s out, which git ignores", line)
		}
	}
	stages := map[string]*stage{}
	var s *stage
	for _, i := range dockerfile(t) {
		if i.name == "FROM" {
			s = &stage{from: i.words(t)[0], root: t.TempDir(), dir: "/", last: map[string]instruction{}}
			s.fill(t)
			if words := i.words(t); len(words) == 3 {
				stages[words[2]] = s
			}
			continue
		}
		s.last[i.name] = i
		switch i.name {
		case "WORKDIR":
			s.dir = i.rest
			if err := os.MkdirAll(s.at("."), 0o700); err != nil {
				t.Fatal(err)
			}
		case "COPY":
			words := i.words(t)
			if name := i.flags["from"]; name != "" {
				copyTree(t, stages[name].at(words[0]), s.at(words[1]), func(string) bool { return false })
			} else {
				copyTree(t, filepath.Join("..", words[0]), s.at(words[1]), ignored)
			}
		case "ENV":
			s.env = append(s.env, strings.ReplaceAll(i.rest, "=/", "="+s.root+"/"))
		case "RUN":
			sh := exec.CommandContext(t.Context(), "sh", "-ec", absolute.ReplaceAllString(i.rest, "${1}"+s.root+"${2}"))
			sh.Dir, sh.Env = s.at("."), append(os.Environ(), s.env...)
			if out, err := sh.CombinedOutput(); err != nil {
				t.Fatalf("RUN %s: %v\n%s", i.rest, err, out)
			}
		case "USER", "VOLUME", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD":
		default:
			t.Fatalf("this test does not know %s", i.name)
		}
	}
	checkImage(t, stages["build"], s)
	serveImage(t, s)
}

// kept reports whether a file is kept out, or the folder that it is in.
func kept(ignored func(string) bool, name string) bool {
	for ; name != "."; name = path.Dir(name) {
		if ignored(name) || ignored("anywhere/"+name) {
			return true
		}
	}
	return false
}

// checkImage holds what the last stage says against what is in it.
func checkImage(t *testing.T, build, s *stage) {
	t.Helper()
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "../go.mod"))[1]
	if want := "golang:" + version + "-bookworm"; build.from != want || s.from != "debian:bookworm-slim" {
		t.Errorf("stages from %s and %s; want %s and the same Debian", build.from, s.from, want)
	}
	if _, err := os.Stat(s.at(authorities)); err != nil {
		t.Errorf("the image knows no certificate authority: %v", err)
	}
	user := s.last["USER"].rest
	if user == "" || strings.HasPrefix(user, "0") || strings.HasPrefix(user, "root") {
		t.Errorf("USER is %q", user)
	}
	data := s.at(s.last["VOLUME"].rest)
	if info, err := os.Stat(data); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the volume: %v, %v", info, err)
	}
	if copied := s.last["COPY"]; copied.words(t)[1] != s.last["VOLUME"].rest || copied.flags["chown"] != user {
		t.Errorf("the volume is copied last, and %s owns it: %+v", user, copied)
	}
	if want := "JOBCAST_DATA=" + data; !slices.Contains(s.env, want) {
		t.Errorf("the environment is %q, want %s", s.env, want)
	}
	binary, err := elf.Open(s.at(s.last["ENTRYPOINT"].words(t)[0]))
	if err != nil {
		t.Fatalf("ENTRYPOINT: %v", err)
	}
	defer binary.Close()
	needs, err := binary.ImportedLibraries()
	if err != nil {
		t.Fatal(err)
	}
	for _, library := range needs { // libc6 is all that the slim image surely has of these
		if !regexp.MustCompile(`^lib(c|m|dl|pthread|resolv|rt)\.so\.\d+$|^ld-linux`).MatchString(library) {
			t.Errorf("the program needs %s, which the image does not have", library)
		}
	}
}

// serveImage runs what the image runs, on a free port of loopback, and its health check
// before and after the end.
func serveImage(t *testing.T, s *stage) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	command := func(words []string, env ...string) *exec.Cmd {
		c := exec.CommandContext(ctx, s.at(words[0]), words[1:]...)
		c.Env = append(append(program.Environ(), s.env...), env...)
		return c
	}
	entry, check := s.last["ENTRYPOINT"].words(t), s.last["HEALTHCHECK"].words(t)
	help, err := command([]string{entry[0], "serve", "--help"}).Output()
	if port := s.last["EXPOSE"].rest; err != nil || !bytes.Contains(help, []byte("--addr=:"+port+" ")) {
		t.Errorf("EXPOSE %s is not where serve listens (%v):\n%s", port, err, help)
	}
	serve := command(append(slices.Clone(entry), s.last["CMD"].words(t)...), "JOBCAST_ADDR=127.0.0.1:0")
	out, err := serve.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	first, _ := lines.ReadString('\n') // what is missing shows in the line
	url, ok := strings.CutPrefix(strings.TrimSpace(first), "listening on ")
	if !ok {
		t.Errorf("the first line is %q", first)
	}
	if said, err := command(check, "JOBCAST_URL="+url).CombinedOutput(); err != nil {
		t.Errorf("HEALTHCHECK of a server that runs: %v: %s", err, said)
	}
	if err := serve.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	_, _ = lines.WriteTo(new(bytes.Buffer)) // to the end of the output
	if err := serve.Wait(); err != nil {
		t.Errorf("serve: %v", err)
	}
	stopped := command(check, "JOBCAST_URL="+url)
	if said, _ := stopped.CombinedOutput(); stopped.ProcessState.ExitCode() != 1 {
		t.Errorf("HEALTHCHECK of a server that has stopped: exit %d: %s", stopped.ProcessState.ExitCode(), said)
	}
}

// dockerfile reads the instructions.
func dockerfile(t *testing.T) []instruction {
	t.Helper()
	var list []instruction
	text := regexp.MustCompile(`(?m)^\s*#.*\n`).ReplaceAllString(read(t, "../Dockerfile"), "")
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == "" {
			continue
		}
		i := instruction{name: name, rest: strings.TrimSpace(rest), flags: map[string]string{}}
		for strings.HasPrefix(i.rest, "--") {
			flag, after, _ := strings.Cut(i.rest, " ")
			key, value, _ := strings.Cut(flag[2:], "=")
			i.flags[key], i.rest = value, strings.TrimSpace(after)
		}
		list = append(list, i)
	}
	return list
}

// dockerignore says what is not sent to the engine: a plain name at the root, or
// anywhere behind "**/".
func dockerignore(t *testing.T) func(name string) bool {
	t.Helper()
	var patterns []string
	for line := range strings.Lines(read(t, "../.dockerignore")) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			patterns = append(patterns, line)
		}
	}
	return func(name string) bool {
		return slices.ContainsFunc(patterns, func(pattern string) bool {
			if anywhere, ok := strings.CutPrefix(pattern, "**/"); ok {
				matched, err := path.Match(anywhere, path.Base(name))
				return matched && err == nil
			}
			return name == pattern
		})
	}
}

// copyTree copies a file, or what is in a folder less what is ignored.
func copyTree(t *testing.T, from, to string, ignored func(string) bool) {
	t.Helper()
	err := filepath.WalkDir(from, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		target := filepath.Join(to, below)
		switch {
		case below != "." && ignored(filepath.ToSlash(below)):
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case entry.IsDir():
			return os.MkdirAll(target, info.Mode().Perm())
		case !info.Mode().IsRegular():
			return nil
		}
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
			return err
		}
		return os.WriteFile(target, content, info.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
}

// read returns the text of a file.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

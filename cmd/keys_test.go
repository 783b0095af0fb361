package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/store/sqlite"
)

// keysAnswer is what a command left behind.
type keysAnswer struct {
	code     int
	out, err string
}

// runKeys runs `jobcast keys args…` in this process.
func runKeys(stdin io.Reader, out, errOut io.Writer, args ...string) int {
	return Run(context.Background(), append([]string{"keys"}, args...), Stdio{In: stdin, Out: out, Err: errOut})
}

func tryKeys(t *testing.T, stdin string, args ...string) keysAnswer {
	t.Helper()
	var out, errOut bytes.Buffer
	code := runKeys(strings.NewReader(stdin), &out, &errOut, args...)
	return keysAnswer{code, out.String(), errOut.String()}
}

// mustKeys is tryKeys for a command that has to succeed.
func mustKeys(t *testing.T, stdin string, args ...string) keysAnswer {
	t.Helper()
	a := tryKeys(t, stdin, args...)
	if a.code != 0 {
		t.Fatalf("keys %v: exit %d, %s", args, a.code, a.err)
	}
	return a
}

func openFolder(t *testing.T, dir string, serving bool) *sqlite.Store {
	t.Helper()
	store, err := sqlite.Open(t.Context(), dir, sqlite.Options{Serving: serving, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

func listKeys(t *testing.T, dir string, more ...string) []auth.Key {
	t.Helper()
	a := mustKeys(t, "", append([]string{"list", "--json", "--data", dir}, more...)...)
	var list struct{ Keys []auth.Key }
	if err := json.Unmarshal([]byte(a.out), &list); err != nil {
		t.Fatalf("list --json printed %q: %v", a.out, err)
	}
	return list.Keys
}

func TestKeysCreate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there") // before the first serve
	a := mustKeys(t, "", "create", "--client", "acme", "--name", "laptop", "--scope", "watch,admin",
		"--max-connections", "7", "--ttl", "720h", "--data", dir)
	if !regexp.MustCompile(`^jc_[a-z0-9]+_[A-Za-z0-9]{27,}\n$`).MatchString(a.out) {
		t.Fatalf("standard output is not one key alone: %q", a.out)
	}
	secret := strings.TrimSpace(a.out)
	if strings.Contains(a.err, secret) || strings.Count(a.err, "\n") != 1 {
		t.Errorf("standard error: %q", a.err)
	}
	p, err := auth.NewVerifier(openFolder(t, dir, false), auth.VerifierOptions{}).Verify(t.Context(), secret)
	if err != nil {
		t.Fatalf("the printed key is not good: %v", err)
	}
	if p.ClientID != "acme" || p.May(auth.Submit) || !p.May(auth.Watch) || !p.May(auth.Admin) || p.MaxConnections != 7 {
		t.Errorf("principal %+v", p)
	}
	if p.ExpiresAt == nil || time.Until(*p.ExpiresAt) < 719*time.Hour || time.Until(*p.ExpiresAt) > 720*time.Hour {
		t.Errorf("expires at %v", p.ExpiresAt)
	}
	mustKeys(t, "", "create", "--client", "acme", "--data", dir)
	list := listKeys(t, dir)
	if len(list) != 2 || len(list[1].Scopes) != 3 || list[1].ExpiresAt != nil || list[1].MaxConnections != nil {
		t.Errorf("keys %+v, want a second one with the defaults", list)
	}
}

func TestKeysDataFromEnvironment(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("JOBCAST_DATA", dir)
	mustKeys(t, "", "create", "--client", "acme")
	if n := len(listKeys(t, dir)); n != 1 {
		t.Errorf("%d keys in the folder that JOBCAST_DATA names", n)
	}
}

type closedPipe struct{}

func (closedPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

// A key that nobody saw is said to exist, by its id.
func TestKeysCreateUnseen(t *testing.T) {
	dir := t.TempDir()
	var errOut bytes.Buffer
	code := runKeys(nil, closedPipe{}, &errOut, "create", "--client", "acme", "--data", dir)
	list := listKeys(t, dir)
	if code != 1 || len(list) != 1 || !strings.Contains(errOut.String(), list[0].ID) {
		t.Errorf("exit %d, keys %v, %q", code, list, &errOut)
	}
}

func TestKeysImport(t *testing.T) {
	t.Parallel()
	const canary = "canary-of-the-old-gateway"
	for name, stdin := range map[string]string{
		"LF": canary + "\n", "CR LF": canary + "\r\n", "no newline": canary,
		"two newlines": canary + "\n\n", "spaces": " " + canary + " \n", "a byte order mark": "\uFEFF" + canary + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			a := mustKeys(t, stdin, "import", "--client", "acme", "--name", "old", "--data", dir)
			if a.out != "" || strings.Contains(a.err, canary) {
				t.Errorf("import printed %q and %q", a.out, a.err)
			}
			p, err := auth.NewVerifier(openFolder(t, dir, false), auth.VerifierOptions{}).Verify(t.Context(), canary)
			if err != nil || p.ClientID != "acme" {
				t.Errorf("the imported key: %+v, %v", p, err)
			}
			again := tryKeys(t, stdin, "import", "--client", "other", "--data", dir)
			if again.code != 1 || !strings.Contains(again.err, auth.ErrExists.Error()) || strings.Contains(again.err, canary) {
				t.Errorf("imported twice: %+v", again)
			}
			if n := len(listKeys(t, dir)); n != 1 {
				t.Errorf("%d keys after one import and one refusal", n)
			}
		})
	}
	for name, stdin := range map[string]string{
		"empty": "", "short": "canary\n", "two lines": canary + "\n" + canary + "\n", "a space within": canary + " " + canary,
		"long": strings.Repeat("canary", 1000), "far behind": strings.Repeat(" ", 100) + strings.Repeat("canary", 80), "a token": "jct_" + canary + canary,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			a := tryKeys(t, stdin, "import", "--client", "acme", "--data", dir)
			if a.code != 1 || a.out != "" || strings.Count(a.err, "\n") != 1 || strings.Contains(a.err, "canary") {
				t.Errorf("got %+v, want exit 1 and one line without the secret", a)
			}
			if n := len(listKeys(t, dir)); n != 0 {
				t.Errorf("%d keys were stored", n)
			}
		})
	}
}

func TestKeysList(t *testing.T) {
	dir := t.TempDir()
	empty := mustKeys(t, "", "list", "--data", dir)
	if empty.out != "" || !strings.Contains(empty.err, "no keys") || strings.Count(empty.err, "\n") != 1 {
		t.Errorf("nothing to list: %+v", empty)
	}
	if a := mustKeys(t, "", "list", "--json", "--data", dir); a.out != `{"keys":[]}`+"\n" {
		t.Errorf("nothing to list, as JSON: %q", a.out)
	}
	secrets := []string{
		mustKeys(t, "", "create", "--client", "acme", "--name", "my laptop", "--ttl", "1h", "--data", dir).out,
		mustKeys(t, "", "create", "--client", "acme", "--max-connections", "50", "--data", dir).out,
		mustKeys(t, "", "create", "--client", "other", "--data", dir).out,
	}
	list := listKeys(t, dir)
	if len(list) != 3 || len(listKeys(t, dir, "--client", "acme")) != 2 || len(listKeys(t, dir, "--client", "nobody")) != 0 {
		t.Fatalf("keys %+v", list)
	}
	if a := mustKeys(t, "", "list", "--client", "nobody", "--data", dir); a.out != "" || a.err == "" {
		t.Errorf("a client without keys: %+v", a)
	}
	mustKeys(t, "", "revoke", list[2].ID, "--data", dir)
	a := mustKeys(t, "", "list", "--data", dir)
	lines := strings.Split(strings.TrimSpace(a.out), "\n")
	if len(lines) != 4 || a.err != "" {
		t.Fatalf("list printed:\n%s%s", a.out, a.err)
	}
	const stamp = `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`
	for i, want := range []string{
		`^ID +CLIENT +NAME +SCOPES +LIMIT +CREATED +EXPIRES +REVOKED +LAST USED$`,
		`^` + list[0].ID + ` +acme +my laptop +submit,watch,work +default +` + stamp + ` +` + stamp + ` +- +-$`,
		`^` + list[1].ID + ` +acme +- +submit,watch,work +50 +` + stamp + ` +- +- +-$`,
		`^` + list[2].ID + ` +other +- +submit,watch,work +default +` + stamp + ` +- +` + stamp + ` +-$`,
	} {
		if !regexp.MustCompile(want).MatchString(lines[i]) {
			t.Errorf("line %d is %q, want %s", i, lines[i], want)
		}
	}
	for _, s := range secrets {
		tail := s[strings.LastIndex(s, "_")+1:]
		if strings.Contains(a.out, strings.TrimSpace(tail)) {
			t.Error("the list shows a secret")
		}
	}
}

func TestKeysRevoke(t *testing.T) {
	dir := t.TempDir()
	secret := strings.TrimSpace(mustKeys(t, "", "create", "--client", "acme", "--data", dir).out)
	id := listKeys(t, dir)[0].ID
	for name, args := range map[string][]string{
		"of another client": {id, "--client", "other"},
		"unknown":           {"nosuchkey0"},
	} {
		if a := tryKeys(t, "", append([]string{"revoke", "--data", dir}, args...)...); a.code != 1 || strings.Count(a.err, "\n") != 1 ||
			!strings.Contains(a.err, auth.ErrNoKey.Error()) {
			t.Errorf("%s: %+v", name, a)
		}
	}
	if at := listKeys(t, dir)[0].RevokedAt; at != nil {
		t.Fatalf("refused, and yet revoked at %v", at)
	}
	if a := mustKeys(t, "", "revoke", id, "--client", "acme", "--data", dir); a.out != "" || !strings.Contains(a.err, id) {
		t.Errorf("revoke printed %+v", a)
	}
	first := listKeys(t, dir)[0].RevokedAt
	if first == nil {
		t.Fatal("the key is not revoked")
	}
	mustKeys(t, "", "revoke", id, "--data", dir) // again is no error
	if again := listKeys(t, dir)[0].RevokedAt; again == nil || !again.Equal(*first) {
		t.Errorf("the second revocation moved revokedAt from %v to %v", first, again)
	}
	_, err := auth.NewVerifier(openFolder(t, dir, false), auth.VerifierOptions{}).Verify(t.Context(), secret)
	if !errors.Is(err, auth.ErrUnauthenticated) {
		t.Errorf("the revoked key: %v", err)
	}
}

func TestKeysUsage(t *testing.T) {
	dir := t.TempDir()
	const canary = "canary-of-the-old-gateway"
	for name, args := range map[string][]string{
		"no command":              {},
		"no client":               {"create"},
		"bad client":              {"create", "--client", "Not/Good"},
		"bad scope":               {"create", "--client", "a", "--scope", "submit,root"},
		"bad name":                {"create", "--client", "a", "--name", "a\tb"},
		"bad limit":               {"create", "--client", "a", "--max-connections", "0"},
		"limit no number":         {"create", "--client", "a", "--max-connections", "many"},
		"bad ttl":                 {"create", "--client", "a", "--ttl", "-1h"},
		"import with bad client":  {"import", "--client", ""},
		"import of an argument":   {"import", "--client", "a", canary},
		"revoke without an id":    {"revoke"},
		"revoke with a whole key": {"revoke", "jc_k_" + canary},
		"unknown flag":            {"create", "--client", "a", "--key", "x"},
	} {
		if a := tryKeys(t, canary, append(args, "--data", dir)...); a.code != 2 || a.err == "" || strings.Contains(a.out+a.err, "canary") {
			t.Errorf("%s: %+v, want exit 2 and a reason without a secret", name, a)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("a usage error touched the data folder: %v, %v", entries, err)
	}
}

func TestKeysBrokenFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	a := tryKeys(t, "", "list", "--data", file)
	if a.code != 1 || strings.Count(a.err, "\n") != 1 || !strings.Contains(a.err, file) {
		t.Errorf("a file as data folder: %+v", a)
	}
}

// keysProcess runs `jobcast keys args…` in another process.
func keysProcess(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary(t), append([]string{"keys"}, args...)...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		t.Fatalf("keys %v in another process: %v\n%s", args, err, &errOut)
	}
	return out.String()
}

// One process serves, another one makes and revokes a key: the first one lets
// it in at once, and ends its stream within a second.
func TestKeysWhileServing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	v := auth.NewVerifier(openFolder(t, dir, true), auth.VerifierOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		v.Run(ctx)
	}()
	defer func() {
		cancel()
		<-stopped
	}()

	secret := strings.TrimSpace(keysProcess(t, "create", "--client", "acme", "--data", dir))
	p, err := v.Verify(t.Context(), secret)
	if err != nil {
		t.Fatalf("a key made by another process: %v", err)
	}
	ended := make(chan error, 1)
	slot, err := v.Streams().Open(t.Context(), p, "sse", func(reason error) { ended <- reason })
	if err != nil {
		t.Fatal(err)
	}
	defer slot.Release()
	keysProcess(t, "revoke", p.KeyID, "--data", dir)
	select {
	case reason := <-ended:
		if !errors.Is(reason, auth.ErrRevoked) {
			t.Errorf("ended for %v", reason)
		}
	case <-time.After(time.Minute): // that it takes a second at most is proved in fake time, by package auth
		t.Error("the other process is done, and the stream is still live")
	}
	if _, err := v.Verify(t.Context(), secret); !errors.Is(err, auth.ErrUnauthenticated) {
		t.Errorf("the revoked key: %v", err)
	}
}

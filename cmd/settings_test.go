package cmd

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/jobcast/jobcast/client"
	"github.com/jobcast/jobcast/server"
)

// parse reads a command line as the program does.
func parse(t *testing.T, args ...string) (*commands, error) {
	t.Helper()
	var cmd commands
	parser, err := kong.New(&cmd, append(settings(), kong.Name("jobcast"))...)
	if err != nil {
		t.Fatal(err)
	}
	if err := refuseEmptyFlags(parser, args); err != nil {
		return nil, err
	}
	_, err = parser.Parse(args)
	return &cmd, err
}

// variables are all that any flag of any command reads.
func variables(t *testing.T) (names []string) {
	t.Helper()
	parser, err := kong.New(&commands{}, kong.Name("jobcast"))
	if err != nil {
		t.Fatal(err)
	}
	err = kong.Visit(parser.Model, func(node kong.Visitable, next kong.Next) error {
		if flag, ok := node.(*kong.Flag); ok {
			names = append(names, flag.Envs...)
		}
		return next(nil)
	})
	if err != nil || len(names) < 20 {
		t.Fatalf("%d variables, %v", len(names), err)
	}
	return names
}

// TestEmptyVariables: a variable that is set to nothing is not set, whichever it is and
// for whichever command.
func TestEmptyVariables(t *testing.T) {
	commandLines := [][]string{
		{"serve"}, {"keys", "list"}, {"keys", "create", "--client=a"}, {"submit", "--queue=q"}, {"watch"}, {"jobs"}, {"cancel", "x"},
		{"retry", "x"}, {"work", "--queue=q", "--", "true"},
	}
	want := make([]string, len(commandLines))
	for i, args := range commandLines {
		cmd, err := parse(t, args...)
		if err != nil {
			t.Fatal(err)
		}
		want[i] = fmt.Sprintf("%+v", *cmd)
	}
	for _, empty := range []string{"", " ", "\r\n"} {
		for _, name := range append(variables(t), "PORT", "JOBCAST_KEY") {
			t.Setenv(name, empty)
		}
		for i, args := range commandLines {
			if cmd, err := parse(t, args...); err != nil || fmt.Sprintf("%+v", *cmd) != want[i] {
				t.Errorf("%v with variables %q: %v\n%+v\nwant\n%s", args, empty, err, cmd, want[i])
			}
		}
	}
	t.Setenv("MAX_CONNECTIONS_PER_KEY", "7")
	if cmd, err := parse(t, "serve"); err != nil || cmd.Serve.MaxConnections != 7 {
		t.Errorf("the second name of a variable whose first is empty: %v", err)
	}
}

// TestEmptyFlags: a flag without a value is an error of usage that says what to write.
func TestEmptyFlags(t *testing.T) {
	for want, args := range map[string][]string{
		"--addr=:3000":       {"serve", "--addr="},
		"--data=":            {"serve", "--data", ""},
		"--cors-origins=*":   {"serve", "--cors-origins="},
		"--retention=168h":   {"serve", "--retention= "},
		"--client=ID":        {"keys", "list", "--client="},
		"--queue=NAME":       {"work", "--queue=", "--", "true"},
		"--url=http://local": {"jobs", "--url", ""},
	} {
		var out, errOut bytes.Buffer
		code := Run(context.Background(), args, Stdio{Out: &out, Err: &errOut})
		if code != exitUsage || !strings.Contains(errOut.String(), want) || strings.Count(errOut.String(), "\n") != 1 {
			t.Errorf("%q: exit %d, %q; want one line with %q", args, code, &errOut, want)
		}
	}
	if _, err := parse(t, "work", "--queue=q", "--", "tool", "--queue=", "--addr", ""); err != nil {
		t.Errorf("arguments of the worker's command: %v", err)
	}
}

// TestLists: every list is read in one way, from a flag and from a variable.
func TestLists(t *testing.T) {
	for _, name := range []string{"flag", "variable"} {
		args := func(variable, flag, list string, more ...string) []string {
			if name == "variable" && variable != "" {
				t.Setenv(variable, list)
				return more
			}
			return append(more, flag+"="+list)
		}
		cmd, err := parse(t, args("JOBCAST_CORS_ORIGINS", "--cors-origins", " https://a.example, ,https://b.example ,https://a.example,", "serve")...)
		if err != nil || fmt.Sprint(cmd.Serve.CORSOrigins) != "[https://a.example https://b.example]" {
			t.Errorf("%s: origins %v, %v", name, cmd.Serve.CORSOrigins, err)
		}
		cmd, err = parse(t, args("JOBCAST_TRUSTED_PROXIES", "--trusted-proxies", "10.0.0.1, 10.1.2.3/16,fd00::1,::ffff:192.0.2.0/120 ,fe80::1%eth0,10.0.0.1/32", "serve")...)
		if want := "[10.0.0.1/32 10.1.0.0/16 fd00::1/128 192.0.2.0/24 fe80::1/128]"; err != nil || fmt.Sprint(cmd.Serve.TrustedProxies) != want {
			t.Errorf("%s: proxies %v, %v, want %s", name, cmd.Serve.TrustedProxies, err, want)
		}
		cmd, err = parse(t, args("", "--scope", " watch ,submit,,watch", "keys", "create", "--client=a")...)
		if err != nil || fmt.Sprint(cmd.Keys.Create.Scope) != "[watch submit]" {
			t.Errorf("%s: scopes %v, %v", name, cmd.Keys.Create.Scope, err)
		}
		cmd, err = parse(t, append(args("", "--queue", "a, b,,a", "work", "--queue=b , c"), "--", "true")...)
		if err != nil || fmt.Sprint(cmd.Work.Queue) != "[b c a]" {
			t.Errorf("%s: queues %v, %v", name, cmd.Work.Queue, err)
		}
	}
	action := `{"type":"wait","ms":1}`
	if cmd, err := parse(t, "submit", "--action="+action, "--action="+action); err != nil || fmt.Sprint(cmd.Submit.Action) != "["+action+" "+action+"]" {
		t.Errorf("actions are no list of that kind: %v", err)
	}
	for list, want := range map[string]string{
		"--trusted-proxies=10.0.0":      "or 10.0.0.1",
		"--trusted-proxies=proxy.local": "want e.g. 10.0.0.0/8",
		"--trusted-proxies=10.0.0.0/33": "want e.g. 10.0.0.0/8",
		"--cors-origins=,":              "--cors-origins=*",
	} {
		if _, err := parse(t, "serve", list); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", list, err, want)
		}
	}
}

// TestGiveUp: 0 is never, where the client's zero is its default.
func TestGiveUp(t *testing.T) {
	for text, want := range map[string]time.Duration{"0": client.Forever, "0s": client.Forever, "90s": 90 * time.Second, "": time.Minute} {
		args := []string{"jobs", "--give-up=" + text}
		if text == "" {
			args = args[:1]
		}
		cmd, err := parse(t, args...)
		if err != nil || cmd.Jobs.patience() != want {
			t.Errorf("--give-up=%s is %s, %v, want %s", text, cmd.Jobs.patience(), err, want)
		}
	}
}

// TestNetworks: what is not zero or IPv4 in IPv6 alone keeps its bits.
func TestNetworks(t *testing.T) {
	for text, want := range map[string]string{"::/0": "::/0", "::ffff:0:0/96": "0.0.0.0/0", "[fd00::1]": "fd00::1/128", "127.0.0.1": "127.0.0.1/32"} {
		if got, ok := server.ParseNetwork(text); !ok || got != netip.MustParsePrefix(want) {
			t.Errorf("%s is %v, want %s", text, got, want)
		}
	}
}

// around is what files and variables put around a secret.
var around = []string{"", "\n", "\r\n", " \t\n\n", "\u00a0", "\uFEFF"}

// TestSecretsAreTrimmed: whatever stands around a secret, it is the same one for every
// reader.
func TestSecretsAreTrimmed(t *testing.T) {
	const secret = "an-old-secret-of-another-program"
	dir := t.TempDir()
	for i, before := range []string{"", "\uFEFF", " \r\n", "\uFEFF\n"} {
		for k, after := range around {
			text := before + secret + after
			data := filepath.Join(dir, fmt.Sprint(i, k))
			mustKeys(t, text, "import", "--client", "acme", "--data", data)
			mustKeys(t, secret+"-2", "import", "--client", "acme", "--data", data)
			if a := tryKeys(t, secret, "import", "--client", "acme", "--data", data); a.code == exitOK {
				t.Errorf("import of %q took it for another secret than %q", text, secret)
			}
			file := filepath.Join(dir, "key")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv("JOBCAST_KEY", text)
			for _, r := range []remote{{}, {KeyFile: file}} {
				if key, err := r.key(); key != secret || err != nil {
					t.Errorf("of %q the key is %q, %v", text, key, err)
				}
			}
		}
	}
}

// TestDefaultAddress: an empty JOBCAST_ADDR must not open the server to all on a port
// that nobody knows.
func TestDefaultAddress(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), binary(t), "serve", "--data="+t.TempDir())
	cmd.Env = append(os.Environ(), "JOBCAST_ADDR=", "PORT=99999")
	out, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.ExitCode() != exitUsage || !strings.Contains(string(out), "PORT") {
		t.Errorf("%v: %s", err, out)
	}
}

package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/server"
)

// keysCmd is `jobcast keys`: it manages keys in the data folder, before the
// first serve as well as while one runs, which notices within a second.
type keysCmd struct {
	Create keysCreateCmd `cmd:"" help:"Create a key and print it once; it cannot be shown again."`
	Import keysImportCmd `cmd:"" help:"Import an existing secret, read from standard input."`
	List   keysListCmd   `cmd:"" help:"List keys, without their secrets."`
	Revoke keysRevokeCmd `cmd:"" help:"Revoke a key and end its live streams."`
}

// keysFolder is the flag that all of them share.
type keysFolder struct {
	Data string `help:"Data folder; created if missing." placeholder:"DIR" default:"./data" env:"JOBCAST_DATA"`
}

// use opens the store without serving it, runs f, and closes it. A signal ends it
// before f or not at all: what f makes it also prints.
func (k keysFolder) use(ctx context.Context, f func(context.Context, auth.Store) error) (err error) {
	store, err := server.OpenKeys(ctx, k.Data)
	if ctx.Err() != nil {
		if err == nil {
			_ = store.Close() // nothing was written
		}
		return errInterrupted
	}
	if err != nil {
		return err // says which folder
	}
	defer func() {
		if closing := store.Close(); err == nil {
			err = closing
		}
	}()
	return f(context.WithoutCancel(ctx), store)
}

// errInterrupted ends a command that a signal stopped before it did anything.
var errInterrupted = &exitError{code: exitInterrupted}

// keysSpec describes a new key.
type keysSpec struct {
	Client         string        `required:"" help:"Client that owns the key; created if new. 1 to 64 characters of a-z, 0-9, dot, underscore and hyphen." placeholder:"ID"`
	Name           string        `help:"What the key is for; at most 100 characters."`
	Scope          []auth.Scope  `help:"What the key may do: submit, watch, work, admin. Default: the first three." placeholder:"SCOPE" default:"submit,watch,work"`
	MaxConnections *int          `help:"Live streams at once, 1 to 100000; overrides the server's setting." placeholder:"N"`
	AllowHosts     []string      `name:"allow-hosts" help:"Hosts that actions of its jobs may reach, comma-separated: example.com, *.example.com, addresses; without it, what the server allows." placeholder:"HOST"`
	DenyHosts      []string      `name:"deny-hosts" help:"Hosts that they may not reach." placeholder:"HOST"`
	TTL            time.Duration `name:"ttl" help:"How long the key is valid, e.g. 720h; without it the key does not expire." placeholder:"DURATION"`
}

func (s keysSpec) options() auth.KeyOptions {
	hosts, _ := jobs.KeyHosts(s.AllowHosts, s.DenyHosts) // checked by Validate
	return auth.KeyOptions{MaxConnections: s.MaxConnections, TTL: s.TTL, AllowHosts: hosts.Allow, DenyHosts: hosts.Deny}
}

// Validate makes what is wrong with a flag an error of usage.
func (s keysSpec) Validate() error {
	var lists *jobs.InvalidError
	if _, err := jobs.KeyHosts(s.AllowHosts, s.DenyHosts); errors.As(err, &lists) {
		flag := map[string]string{"/allowHosts": "allow-hosts", "/denyHosts": "deny-hosts"}[lists.Fields[0].Pointer]
		return fmt.Errorf("--%s: %s", flag, lists.Fields[0].Detail)
	}
	err := auth.Validate(s.Client, s.Name, s.Scope, s.options())
	var invalid *auth.InvalidError
	if !errors.As(err, &invalid) {
		return err
	}
	flags := map[string]string{"clientId": "client", "scopes": "scope", "maxConnections": "max-connections"}
	flag, ok := flags[invalid.Field]
	if !ok {
		flag = invalid.Field
	}
	return fmt.Errorf("--%s: %s", flag, invalid.Detail)
}

type keysCreateCmd struct {
	keysSpec
	keysFolder
}

// Run prints the key alone on standard output.
func (c *keysCreateCmd) Run(ctx context.Context, std *Stdio) error {
	key, secret, err := auth.NewKey(c.Client, c.Name, c.Scope, c.options())
	if err != nil {
		return fmt.Errorf("create key: %w", err)
	}
	return c.use(ctx, func(ctx context.Context, store auth.Store) error {
		if err := store.CreateKey(ctx, key); err != nil {
			return coded(fmt.Errorf("create key: %w", err))
		}
		if _, err := fmt.Fprintln(std.Out, secret); err != nil {
			return fmt.Errorf("key %s exists but could not be printed, so revoke it: %w", key.ID, err)
		}
		fmt.Fprintf(std.Err, "created %s. Keep the key: it is not shown again.\n", describeKey(key.Key))
		return nil
	})
}

type keysImportCmd struct {
	keysSpec
	keysFolder
	// Args catches a secret given as an argument, which the usual error about
	// an unexpected argument would repeat.
	Args []string `arg:"" optional:"" help:"Not accepted: the secret is read from standard input."`
}

// Validate refuses arguments without repeating them.
func (c *keysImportCmd) Validate() error {
	if len(c.Args) > 0 {
		return errors.New("the secret is read from standard input, because others could see an argument")
	}
	return c.keysSpec.Validate()
}

// Run stores a secret and prints nothing of it.
func (c *keysImportCmd) Run(ctx context.Context, std *Stdio) error {
	secret, err := waitSecret(ctx, std)
	if ctx.Err() != nil {
		return errInterrupted
	}
	if err != nil {
		return fmt.Errorf("read the secret: %w", err)
	}
	key, err := auth.Import(secret, c.Client, c.Name, c.Scope, c.options())
	if err != nil {
		return fmt.Errorf("import key: %w", err)
	}
	return c.use(ctx, func(ctx context.Context, store auth.Store) error {
		if err := store.CreateKey(ctx, key); err != nil {
			return coded(fmt.Errorf("import key: %w", err))
		}
		fmt.Fprintf(std.Err, "imported %s.\n", describeKey(key.Key))
		return nil
	})
}

// waitSecret is readSecret, but a signal ends it. The read itself cannot be ended; it
// goes with the process.
func waitSecret(ctx context.Context, std *Stdio) (string, error) {
	type answer struct {
		secret string
		err    error
	}
	done := make(chan answer, 1)
	go func() {
		secret, err := readSecret(std)
		done <- answer{secret, err}
	}()
	select {
	case a := <-done:
		return a.secret, a.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// maxAround is how much may stand around a secret, in bytes.
const maxAround = 64

// readSecret reads one secret to the end of the input, less what stands around it.
func readSecret(std *Stdio) (string, error) {
	if file, ok := std.In.(*os.File); ok {
		if info, err := file.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			fmt.Fprintln(std.Err, "reading the secret from the terminal, which shows it. Redirect a file to keep it hidden. End with Ctrl-D.")
		}
	}
	const most = auth.MaxSecretBytes + maxAround
	raw, err := io.ReadAll(io.LimitReader(std.In, most+1))
	if err == nil && len(raw) > most { // its end may be missing
		err = fmt.Errorf("the input has more than %d bytes", most)
	}
	return trimSecret(string(raw)), err
}

type keysListCmd struct {
	Client string `help:"Only this client's keys." placeholder:"ID"`
	JSON   bool   `name:"json" help:"Print {\"keys\":[…]}, as the API does."`
	keysFolder
}

// Run prints one line for each key, oldest first.
func (c *keysListCmd) Run(ctx context.Context, std *Stdio) error {
	return c.use(ctx, func(ctx context.Context, store auth.Store) error {
		keys, err := store.Keys(ctx, c.Client)
		if err != nil {
			return fmt.Errorf("list keys: %w", err)
		}
		if len(keys) == 0 {
			c.sayEmpty(std.Err)
		}
		if c.JSON {
			err = printKeysJSON(std.Out, keys)
		} else if len(keys) > 0 {
			err = printKeysTable(std.Out, keys)
		}
		if err != nil {
			return fmt.Errorf("print keys: %w", err)
		}
		return nil
	})
}

func (c *keysListCmd) sayEmpty(w io.Writer) {
	whose := "There are no keys"
	if c.Client != "" {
		whose = "This client has no keys"
	}
	fmt.Fprintf(w, "%s in %s. Create one with: jobcast keys create --client ID\n", whose, c.Data)
}

func printKeysJSON(w io.Writer, keys []auth.Key) error {
	if keys == nil {
		keys = []auth.Key{}
	}
	return json.NewEncoder(w).Encode(map[string][]auth.Key{"keys": keys})
}

func printKeysTable(w io.Writer, keys []auth.Key) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tCLIENT\tNAME\tSCOPES\tLIMIT\tCREATED\tEXPIRES\tREVOKED\tLAST USED")
	for _, k := range keys {
		name, limit := k.Name, "default"
		if name == "" {
			name = "-"
		}
		if k.MaxConnections != nil {
			limit = strconv.Itoa(*k.MaxConnections)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.ClientID, name, scopeList(k.Scopes), limit,
			keyTime(&k.CreatedAt), keyTime(k.ExpiresAt), keyTime(k.RevokedAt), keyTime(k.LastUsedAt))
	}
	return table.Flush()
}

type keysRevokeCmd struct {
	ID     string `arg:"" name:"id" help:"Id of the key, as keys list shows it."`
	Client string `help:"Revoke the key only if it belongs to this client." placeholder:"ID"`
	keysFolder
}

// Validate notices a whole key in the place of its id. It is not repeated.
func (c *keysRevokeCmd) Validate() error {
	if strings.HasPrefix(c.ID, "jc_") {
		return errors.New("this looks like a whole key; its id is the part between the first two underscores")
	}
	return nil
}

// Run revokes a key; one that is revoked already stays as it is.
func (c *keysRevokeCmd) Run(ctx context.Context, std *Stdio) error {
	return c.use(ctx, func(ctx context.Context, store auth.Store) error {
		if err := store.RevokeKey(ctx, c.Client, c.ID, time.Now()); err != nil {
			return fmt.Errorf("revoke key: %w", err) // without the id: it could be a secret in the wrong place
		}
		fmt.Fprintf(std.Err, "revoked key %s. A running server ends its streams within a second.\n", c.ID)
		return nil
	})
}

// describeKey says in one line what a key is.
func describeKey(k auth.Key) string {
	text := fmt.Sprintf("key %s of client %s, scopes %s", k.ID, k.ClientID, scopeList(k.Scopes))
	if k.MaxConnections != nil {
		text += fmt.Sprintf(", at most %d streams", *k.MaxConnections)
	}
	if len(k.AllowHosts) > 0 {
		text += ", hosts " + strings.Join(k.AllowHosts, ",")
	}
	if len(k.DenyHosts) > 0 {
		text += ", not hosts " + strings.Join(k.DenyHosts, ",")
	}
	if k.ExpiresAt != nil {
		text += ", expires " + keyTime(k.ExpiresAt)
	}
	return text
}

func scopeList(scopes []auth.Scope) string {
	words := make([]string, len(scopes))
	for i, s := range scopes {
		words[i] = string(s)
	}
	return strings.Join(words, ",")
}

// keyTime writes a moment for a person: UTC, whole seconds, "-" for none.
func keyTime(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

package cmd

import (
	"context"
	"errors"
	"fmt"
	"html"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/client"
	"github.com/jobcast/jobcast/server"
)

// openCmd is `jobcast open`. Like `jobcast keys` it works on the data folder, also while
// a server serves it.
type openCmd struct {
	URL       string       `name:"url" help:"URL of the server, as the browser reaches it." default:"http://localhost:3000" env:"JOBCAST_URL"`
	Client    string       `help:"Client to sign in as; without it, the only one there is." placeholder:"ID"`
	Scopes    []auth.Scope `help:"What the sign-in may do: submit, watch, work, admin." placeholder:"SCOPE" default:"submit,watch,admin"`
	NoBrowser bool         `help:"Open no browser."`
	keysFolder
}

// Help says what the link is.
func (*openCmd) Help() string {
	return `The link is good once, for 5 minutes; the browser gets a key for it that ends after
12 hours. The link is printed on a terminal and nowhere else. Where there is a display,
the browser is opened too, and the command waits until the link was used.`
}

// Validate makes what is wrong with a flag an error of usage.
func (c *openCmd) Validate() error {
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("--url: a browser needs http://host:port, with the base path if there is one")
	}
	name := c.Client
	if name == "" {
		name = "any"
	}
	var invalid *auth.InvalidError
	if errors.As(auth.Validate(name, "", c.Scopes, auth.KeyOptions{}), &invalid) {
		flag := map[string]string{"clientId": "client", "scopes": "scopes"}[invalid.Field]
		return fmt.Errorf("--%s: %s", flag, invalid.Detail)
	}
	return nil
}

// Run makes a code and shows it: on a terminal, in the browser, or both.
func (c *openCmd) Run(ctx context.Context, std *Stdio) error {
	browser := ""
	if !c.NoBrowser {
		browser = browserOpener()
	}
	terminal := onTerminal(std.Out)
	if !terminal && browser == "" {
		return &usageError{errors.New("the link is shown on a terminal only, and there is no display for a browser")}
	}
	c.lookAt(ctx, std)
	return c.use(ctx, func(whole context.Context, store auth.Store) error {
		code, link, err := c.makeCode(whole, store)
		if err != nil {
			return err
		}
		if terminal {
			if _, err := fmt.Fprintln(std.Out, link); err != nil {
				return fmt.Errorf("print the link: %w", err)
			}
		}
		fmt.Fprintf(std.Err, "The link signs in as %s (%s), once, within %.0f minutes.\n", code.ClientID, scopeList(code.Scopes), auth.CodeTTL.Minutes())
		if browser == "" {
			return nil
		}
		err = show(ctx, std, store, browser, code, link)
		if errors.Is(err, errNoBrowser) && terminal {
			fmt.Fprintf(std.Err, "%v; the link is good all the same.\n", err)
			return nil
		}
		return err
	})
}

// lookAt says if no server is there, which is no reason not to make a link.
func (c *openCmd) lookAt(ctx context.Context, std *Stdio) {
	cl, err := client.New(client.Options{URL: c.URL, UserAgent: "jobcast/" + server.Version(), Timeout: time.Second})
	if err != nil {
		return
	}
	defer cl.Close()
	var p *client.Problem
	if err := cl.Ready(ctx); err != nil && !errors.As(err, &p) && ctx.Err() == nil {
		fmt.Fprintf(std.Err, "No server answers at %s; start one with: jobcast serve\n", c.URL)
	}
}

// makeCode stores a code and returns the link that has it.
func (c *openCmd) makeCode(ctx context.Context, store auth.Store) (auth.Code, string, error) {
	if c.Client == "" {
		clients, err := store.Clients(ctx, 2)
		switch {
		case err != nil:
			return auth.Code{}, "", fmt.Errorf("list clients: %w", err)
		case len(clients) == 0:
			return auth.Code{}, "", fmt.Errorf("there is no client in %s yet: the first start of jobcast serve makes one", c.Data)
		case len(clients) > 1:
			return auth.Code{}, "", &usageError{errors.New("there are several clients: name one with --client")}
		}
		c.Client = clients[0]
	}
	code, text, err := auth.NewCode(c.Client, c.Scopes)
	if err == nil {
		err = store.CreateCode(ctx, code)
	}
	if errors.Is(err, auth.ErrNoClient) {
		return code, "", fmt.Errorf("there is no client %s in %s; jobcast keys list shows whose keys there are", c.Client, c.Data)
	}
	if err != nil {
		return code, "", fmt.Errorf("make sign-in code: %w", err)
	}
	return code, server.SignInLink(c.URL, text), nil
}

// browserOpener is the program that opens a browser; empty: there is none, or no display.
func browserOpener() string {
	if os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "" {
		return ""
	}
	path, err := exec.LookPath("xdg-open")
	if err != nil {
		return ""
	}
	return path
}

var errNoBrowser = errors.New("no browser could be opened")

// usedEvery is how often it is looked whether a link was used.
const usedEvery = 300 * time.Millisecond

// show opens the browser at the link and waits until the code was used, or is of no use any
// more. The browser is given a file that leads on, because other users can see the
// arguments of a program.
func show(ctx context.Context, std *Stdio, store auth.Store, browser string, code auth.Code, link string) error {
	dir, err := os.MkdirTemp("", "jobcast-open-")
	if err != nil {
		return fmt.Errorf("open the browser: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // what stays holds a code that is used, or will have expired
	page := filepath.Join(dir, "sign-in.html")
	lead := `<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer"><meta http-equiv="refresh" content="0; url=` +
		html.EscapeString(link) + `"><title>jobcast</title><p>Signing in…`
	if err := os.WriteFile(page, []byte(lead), 0o600); err != nil {
		return fmt.Errorf("open the browser: %w", err)
	}
	opener := exec.Command(browser, page) //nolint:gosec,noctx // xdg-open with a file of ours; it may be the browser itself, which is to stay
	failed := make(chan error, 1)
	go func() { failed <- opener.Run() }()
	fmt.Fprintln(std.Err, "Opening the browser, until it has signed in; Ctrl-C ends the wait.")
	looks := time.NewTicker(usedEvery)
	defer looks.Stop()
	for {
		select {
		case <-ctx.Done():
			return errInterrupted
		case err := <-failed:
			if err != nil {
				return fmt.Errorf("%w: %s: %w", errNoBrowser, filepath.Base(browser), err)
			}
			failed = nil
		case <-looks.C:
			_, err := store.Code(context.WithoutCancel(ctx), code.Hash)
			switch {
			case errors.Is(err, auth.ErrNoCode):
				fmt.Fprintln(std.Err, "Signed in.")
				return nil
			case err != nil:
				return fmt.Errorf("look whether the link was used: %w", err)
			case time.Now().After(code.ExpiresAt):
				return errors.New("nobody used the link in time")
			}
		}
	}
}

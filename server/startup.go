package server

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/transport/wire"
)

// demoClient is made at the very first start, so that there is something to try.
const demoClient = "demo"

// announce prints where the server is and, at a first start, a key to use it with; on a
// terminal also a link that signs in.
func (s *Server) announce(ctx context.Context, out io.Writer, terminal bool) error {
	url, socket := baseURL(s.ln.Addr()), ""
	if addr, ok := s.ln.Addr().(*net.UnixAddr); ok {
		socket = addr.Name
	}
	url += s.set.BasePath
	if _, err := fmt.Fprintln(out, "listening on "+listening(url, socket, s.set.BasePath)); err != nil {
		return err
	}
	// A signal must not come between a key that is made and the words that show it.
	begun := context.WithoutCancel(ctx)
	n, err := s.store.CountClients(begun)
	if err != nil {
		return err
	}
	secret := ""
	if n == 0 {
		if secret, err = s.makeKey(begun, "made at the first start", auth.KeyOptions{}); err != nil {
			return err
		}
		fmt.Fprintf(out, "key: %s\n", secret)
	}
	switch { // a browser cannot open a socket
	case socket == "" && secret != "":
		fmt.Fprintf(out, "page: %s/#key=%s\n", url, secret)
	case socket == "":
		fmt.Fprintf(out, "page: %s/\n", url)
	}
	if terminal && socket == "" {
		if err := s.offerSignIn(begun, out, url); err != nil {
			return err
		}
	}
	if secret != "" {
		fmt.Fprintf(out, "try: %s\n", tryLine(url, socket, secret))
	}
	if s.set.Demo {
		return s.demo(ctx, out, url, socket, secret)
	}
	return nil
}

// offerSignIn prints a link that signs in as the only client there is.
func (s *Server) offerSignIn(ctx context.Context, out io.Writer, url string) error {
	clients, err := s.store.Clients(ctx, 2)
	if err != nil {
		return err
	}
	if len(clients) > 1 {
		_, err = fmt.Fprintln(out, "sign in: jobcast open --client ID")
		return err
	}
	code, text, err := auth.NewCode(clients[0], SignInScopes())
	if err != nil {
		return fmt.Errorf("make sign-in code: %w", err)
	}
	if err := s.store.CreateCode(ctx, code); err != nil {
		return fmt.Errorf("store sign-in code: %w", err)
	}
	_, err = fmt.Fprintf(out, "sign in: %s (good once, for %.0f minutes; another: jobcast open)\n", SignInLink(url, text), auth.CodeTTL.Minutes())
	return err
}

// SignInScopes is what whoever signs in may do, unless others are named: all that is done
// by hand.
func SignInScopes() []auth.Scope { return []auth.Scope{auth.Submit, auth.Watch, auth.Admin} }

// SignInLink is the page of a server, told a code. What stands behind the # is not sent
// to any server, nor written down by a proxy.
func SignInLink(url, code string) string { return strings.TrimRight(url, "/") + "/#login=" + code }

// makeKey creates a key of the demo client and returns its secret.
func (s *Server) makeKey(ctx context.Context, name string, o auth.KeyOptions) (string, error) {
	key, secret, err := auth.NewKey(demoClient, name, auth.DefaultScopes(), o)
	if err != nil {
		return "", fmt.Errorf("make key: %w", err)
	}
	if err := s.store.CreateKey(ctx, key); err != nil {
		return "", fmt.Errorf("store key: %w", err)
	}
	return secret, nil
}

// sampleJob is what `try` and the demo submit.
const sampleJob = `{"actions":[{"type":"wait","ms":500},{"type":"wait","ms":500},{"type":"wait","ms":500},{"type":"wait","ms":500}]}`

// listening is the address of a server, as client.Options takes it.
func listening(url, socket, base string) string {
	if socket == "" {
		return url
	}
	if base != "" {
		base = ":" + base
	}
	return wire.UnixPrefix + socket + base
}

func tryLine(url, socket, secret string) string {
	over := ""
	if socket != "" {
		over = "--unix-socket " + socket + " "
	}
	return fmt.Sprintf("curl -N %s-H 'Authorization: Bearer %s' -H 'Content-Type: application/json' "+
		"-H 'Accept: text/event-stream' -d '%s' %s/v1/jobs", over, secret, sampleJob, url)
}

// baseURL is how a browser on this machine reaches the listener.
func baseURL(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil { // a unix socket: the host does not matter
		return "http://localhost"
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// demoKeyTTL ends the key of a demo run that was not revoked, after a crash.
const demoKeyTTL = 10 * time.Minute

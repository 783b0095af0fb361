package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/jobcast/jobcast/auth"
)

// demoClient is made at the very first start, so that there is something to try.
const demoClient = "demo"

// greet prints where the server is and, at a first start, a key to use it with.
func (s *server) greet(ctx context.Context, std *stdio) error {
	url := baseURL(s.ln.Addr())
	if _, err := fmt.Fprintln(std.out, "listening on "+url); err != nil {
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
		fmt.Fprintf(std.out, "key: %s\npage: %s/#key=%s\ntry: %s\n", secret, url, secret, tryLine(url, secret))
	} else {
		fmt.Fprintf(std.out, "page: %s/\n", url)
	}
	if s.set.Demo {
		return s.demo(ctx, std, url, secret)
	}
	return nil
}

// makeKey creates a key of the demo client and returns its secret.
func (s *server) makeKey(ctx context.Context, name string, o auth.KeyOptions) (string, error) {
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

func tryLine(url, secret string) string {
	return fmt.Sprintf("curl -N -H 'Authorization: Bearer %s' -H 'Content-Type: application/json' "+
		"-H 'Accept: text/event-stream' -d '%s' %s/v1/jobs", secret, sampleJob, url)
}

// baseURL is how a browser on this machine reaches the listener.
func baseURL(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return "http://" + addr.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// demoKeyTTL ends the key of a demo run that was not revoked, after a crash.
const demoKeyTTL = 10 * time.Minute

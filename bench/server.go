package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// moduleRoot returns the folder of go.mod, from which the server is built.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find module: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find module: there is no go.mod here or above")
		}
		dir = parent
	}
}

// buildServer builds jobcast into dir and returns its path. Without -trimpath,
// which changes no instruction but would compile SQLite once more. A server that can
// be profiled has one file more.
func buildServer(ctx context.Context, dir string, profile bool) (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "jobcast")
	args := []string{"build", "-o", path}
	if profile {
		overlay, err := makeProfiler(dir, root)
		if err != nil {
			return "", err
		}
		args = append(args, overlay)
	}
	build := exec.CommandContext(ctx, "go", append(args, ".")...) //nolint:gosec // paths in our own temporary folder
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build server: %w: %s", err, out)
	}
	return path, nil
}

// server is a running `jobcast serve` over an empty data folder of its own.
type server struct {
	*process
	addr netip.AddrPort
	key  string
}

// startServer runs the real server. Its access log is off: at the default level
// it writes a line for each request, which is another thing to measure. key is empty
// at the first start over a folder, when the server makes one.
func startServer(ctx context.Context, set *settings, data, key string, flags ...string) (_ *server, err error) {
	p, err := startProcess(set.binary, append([]string{"serve", "--addr=127.0.0.1:0", "--data=" + data, "--log-level=warn",
		"--max-connections-per-key=100000", "--max-connections-per-client=100000", "--shutdown-grace=5s"}, flags...)...)
	if err != nil {
		return nil, err
	}
	p.profiles = set.profiles != nil
	s := &server{process: p, key: key}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.stop())
		}
	}()
	for s.key == "" || !s.addr.IsValid() {
		line, err := p.line(ctx)
		if err != nil {
			return nil, err
		}
		if url, ok := strings.CutPrefix(line, "listening on http://"); ok {
			if s.addr, err = netip.ParseAddrPort(url); err != nil {
				return nil, fmt.Errorf("address of server: %w", err)
			}
		}
		if key, ok := strings.CutPrefix(line, "key: "); ok {
			s.key = key
		}
	}
	return s, nil
}

// withServer runs f against a fresh server in a folder below base.
func withServer(ctx context.Context, set *settings, f func(*server) error) (err error) {
	data, err := os.MkdirTemp(set.data, "jobcast-bench-")
	if err != nil {
		return fmt.Errorf("make data folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(data)) }()
	s, err := startServer(ctx, set, data, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	return f(s)
}

// request returns a whole HTTP/1.1 request. Headers are lines without their ends.
func request(method, path, host, key, body string, headers ...string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n", method, path, host, key)
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	if body != "" {
		fmt.Fprintf(&b, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n" + body)
	return []byte(b.String())
}

package main

import (
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// version is what one of the servers under comparison was built from.
type version struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// versionsOf returns what the peers among targets and queues run on, as it is installed
// here; nothing if there are none.
func versionsOf(ctx context.Context, targets []target, queues []queue) ([]version, error) {
	var peers []string
	for _, t := range targets {
		if !strings.HasPrefix(t.name, "jobcast") {
			peers = append(peers, t.name)
		}
	}
	for _, q := range queues {
		peers = append(peers, q.name)
	}
	if len(peers) == 0 {
		return nil, nil
	}
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	folder := filepath.Join(root, "bench", "peers")
	all := []version{{"jobcast", commit(ctx)}}
	for _, part := range parts {
		if !slices.ContainsFunc(peers, part.below) {
			continue
		}
		found, err := part.versions(ctx, folder)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", part.remedy, err)
		}
		for _, v := range found {
			if !slices.Contains(all, v) {
				all = append(all, v)
			}
		}
	}
	return all, nil
}

// taking returns the targets that take part, the peer of browser among them.
func (s *settings) taking() []target {
	if !s.playwright {
		return s.targets
	}
	return append(slices.Clone(s.targets), target{name: playwright})
}

// part is what peers run on.
type part struct {
	below    func(peer string) bool
	versions func(ctx context.Context, folder string) ([]version, error)
	remedy   string // if it is not there
}

const (
	build   = "the peers are not there, make bench-peers-build builds them"
	install = "a package of the system is not there, bench/peers/README.md says which"
)

var parts = []part{
	{isOneOf("socket.io", "socket.io polling", "nestjs", "nestjs polling"), nodeVersions, build},
	{isOneOf("socket.io on Bun"), bunVersions, build},
	{isOneOf("socket.io in Go"), goVersions("fanout/bin/socketio", module{"socket.io in Go", "github.com/zishang520/socket.io/servers/socket/v3"}), build},
	{isOneOf("centrifuge", "centrifuge gathering", "centrifuge batching"), goVersions("fanout/bin/centrifuge", module{"centrifuge", "github.com/centrifugal/centrifuge"}), build},
	{isOneOf("bullmq always", "bullmq everysec"), bullVersions, build},
	{isOneOf("bullmq always", "bullmq everysec"), said("Redis", " v=", "redis-server", exec.LookPath), install},
	{isOneOf(playwright), playwrightVersions, build},
	{isOneOf(playwright), said("Chromium", "Chromium ", "chromium-headless-shell", func(string) (string, error) { return headlessShell() }), install},
	{isOneOf("river", "river tuned"), goVersions("queues/bin/river", module{"River", "github.com/riverqueue/river"}), build},
	{isOneOf("river", "river tuned"), said("PostgreSQL", ") ", "postgres", postgresProgram), install},
	{isOneOf("goqite"), goVersions("queues/bin/goqite", module{"goqite", "maragu.dev/goqite"}, module{"go-sqlite3", "github.com/mattn/go-sqlite3"}), build},
}

func isOneOf(names ...string) func(string) bool {
	return func(peer string) bool { return slices.Contains(names, peer) }
}

// nodePackages returns the version of Node, and a function of those of what npm has
// installed.
func nodePackages(ctx context.Context, folder string) (node version, of func(path string) string, err error) {
	said, err := exec.CommandContext(ctx, "node", "--version").Output()
	if err != nil {
		return node, nil, fmt.Errorf("ask node for its version: %w", err)
	}
	raw, err := os.ReadFile(filepath.Join(folder, "node_modules", ".package-lock.json"))
	if err != nil {
		return node, nil, err
	}
	var lock struct {
		Packages map[string]struct{ Version string }
	}
	if err := json.Unmarshal(raw, &lock); err != nil {
		return node, nil, fmt.Errorf("read versions of node's packages: %w", err)
	}
	node = version{"Node", strings.TrimSpace(string(said))}
	return node, func(path string) string { return lock.Packages["node_modules/"+path].Version }, nil
}

// nodeVersions returns what the servers on Node run on.
func nodeVersions(ctx context.Context, folder string) ([]version, error) {
	node, of, err := nodePackages(ctx, folder)
	if err != nil {
		return nil, err
	}
	below := of("@nestjs/platform-socket.io/node_modules/socket.io")
	if below == "" {
		below = of("socket.io") // one copy serves both
	}
	return []version{
		node, {"socket.io", of("socket.io")},
		{"NestJS", of("@nestjs/core")}, {"socket.io below NestJS", below},
	}, nil
}

func bunVersions(ctx context.Context, folder string) ([]version, error) {
	_, of, err := nodePackages(ctx, folder)
	if err != nil {
		return nil, err
	}
	return []version{{"Bun", of("@oven/bun-linux-x64")}, {"bun-engine", of("@socket.io/bun-engine")}, {"socket.io", of("socket.io")}}, nil
}

func bullVersions(ctx context.Context, folder string) ([]version, error) {
	node, of, err := nodePackages(ctx, folder)
	if err != nil {
		return nil, err
	}
	return []version{node, {"BullMQ", of("bullmq")}, {"ioredis", of("ioredis")}}, nil
}

func playwrightVersions(ctx context.Context, folder string) ([]version, error) {
	node, of, err := nodePackages(ctx, folder)
	if err != nil {
		return nil, err
	}
	return []version{node, {"playwright-core", of("playwright-core")}}, nil
}

// module is one of Go's that a program is built from.
type module struct{ name, path string }

// goVersions returns how to read what a program of Go was built from.
func goVersions(program string, modules ...module) func(context.Context, string) ([]version, error) {
	return func(_ context.Context, folder string) ([]version, error) {
		info, err := buildinfo.ReadFile(filepath.Join(folder, filepath.FromSlash(program)))
		if err != nil {
			return nil, err
		}
		all := []version{{"Go of " + filepath.Base(program), info.GoVersion}}
		for _, m := range modules {
			for _, dep := range info.Deps {
				if dep.Path == m.path {
					all = append(all, version{m.name, dep.Version})
				}
			}
		}
		return all, nil
	}
}

// said returns how to ask a program of the system for its version, which stands between
// after and the next space.
func said(name, after, program string, find func(string) (string, error)) func(context.Context, string) ([]version, error) {
	return func(ctx context.Context, _ string) ([]version, error) {
		path, err := find(program)
		if err != nil {
			return nil, err
		}
		out, err := exec.CommandContext(ctx, path, "--version").Output() //nolint:gosec // our own argument
		if err != nil {
			return nil, fmt.Errorf("ask %s for its version: %w", program, err)
		}
		_, text, _ := strings.Cut(strings.TrimSpace(string(out)), after)
		text, _, _ = strings.Cut(text, " ")
		if text == "" {
			return nil, errors.New(program + " says nothing of its version")
		}
		return []version{{name, text}}, nil
	}
}

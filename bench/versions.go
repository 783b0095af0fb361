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

// versionsOf returns what the targets run on, as it is installed here; nothing if
// all are jobcast.
func versionsOf(ctx context.Context, targets []target) ([]version, error) {
	if !slices.ContainsFunc(targets, func(t target) bool { return !strings.HasPrefix(t.name, "jobcast") }) {
		return nil, nil
	}
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	folder := filepath.Join(root, "bench", "peers")
	node, err1 := nodeVersions(ctx, folder)
	centrifuge, err2 := centrifugeVersions(folder)
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("the peers are not there, make bench-peers builds them: %w", err)
	}
	return append(append([]version{{"jobcast", commit(ctx)}}, node...), centrifuge...), nil
}

// nodePackages returns the version of Node, and a function of those of what npm has
// installed.
func nodePackages(ctx context.Context, folder string) (node string, of func(path string) string, err error) {
	said, err := exec.CommandContext(ctx, "node", "--version").Output()
	if err != nil {
		return "", nil, fmt.Errorf("ask node for its version: %w", err)
	}
	raw, err := os.ReadFile(filepath.Join(folder, "node_modules", ".package-lock.json"))
	if err != nil {
		return "", nil, err
	}
	var lock struct {
		Packages map[string]struct{ Version string }
	}
	if err := json.Unmarshal(raw, &lock); err != nil {
		return "", nil, fmt.Errorf("read versions of node's packages: %w", err)
	}
	return strings.TrimSpace(string(said)), func(path string) string { return lock.Packages["node_modules/"+path].Version }, nil
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
		{"Node", node}, {"socket.io", of("socket.io")},
		{"NestJS", of("@nestjs/core")}, {"socket.io below NestJS", below},
	}, nil
}

// centrifugeVersions reads what the program was built from.
func centrifugeVersions(folder string) ([]version, error) {
	info, err := buildinfo.ReadFile(filepath.Join(folder, "centrifuge", "centrifuge"))
	if err != nil {
		return nil, err
	}
	all := []version{{"Go of centrifuge", info.GoVersion}}
	for _, m := range info.Deps {
		if m.Path == "github.com/centrifugal/centrifuge" {
			all = append(all, version{"centrifuge", m.Version})
		}
	}
	return all, nil
}

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// machine is where figures were measured.
type machine struct {
	CPU        string  `json:"cpu"`
	Cores      int     `json:"cores"`
	MemoryMB   int     `json:"memoryMB"`
	Kernel     string  `json:"kernel"`
	Go         string  `json:"go"`
	FileSystem string  `json:"fileSystem"` // of the data folders
	SyncMs     float64 `json:"syncMs"`     // median of a 4 KiB write and fdatasync there
	Load       float64 `json:"load"`       // of the machine over the last minute, before the run
}

// thisMachine looks around. What it cannot find out is "unknown" or 0.
func thisMachine(ctx context.Context, data string) (machine, error) {
	m := machine{CPU: "unknown", Cores: runtime.NumCPU(), Kernel: "unknown", Go: runtime.Version() + " " + runtime.GOARCH}
	if v := procLine("/proc/cpuinfo", "model name"); v != "" {
		m.CPU = v
	}
	if kb, err := strconv.Atoi(strings.TrimSuffix(procLine("/proc/meminfo", "MemTotal"), " kB")); err == nil {
		m.MemoryMB = kb / 1024
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = unix.ByteSliceToString(name.Sysname[:]) + " " + unix.ByteSliceToString(name.Release[:])
	}
	if raw, err := os.ReadFile("/proc/loadavg"); err == nil {
		minute, _, _ := strings.Cut(string(raw), " ")
		m.Load, _ = strconv.ParseFloat(minute, 64)
	}
	m.FileSystem = fileSystem(data)
	h, err := syncTimes(ctx, data)
	m.SyncMs = millis(h.quantile(0.5))
	return m, err
}

// procLine returns the value of the first line `key : value` of a file in /proc.
func procLine(file, key string) string {
	raw, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(raw)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// fileSystem names what dir lies on; on tmpfs a commit costs nothing, so the
// figures that need a disk would mean nothing.
func fileSystem(dir string) string {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return "unknown"
	}
	switch st.Type {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4"
	case unix.XFS_SUPER_MAGIC:
		return "xfs"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	case unix.TMPFS_MAGIC:
		return "tmpfs"
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlayfs"
	default:
		return fmt.Sprintf("type 0x%x", st.Type)
	}
}

// syncTimes measures what one durable write costs in dir: the floor of every
// commit. It takes a second at most.
func syncTimes(ctx context.Context, dir string) (*histogram, error) {
	h := &histogram{}
	f, err := os.CreateTemp(dir, "jobcast-bench-sync-")
	if err != nil {
		return h, fmt.Errorf("measure disk: %w", err)
	}
	defer func() {
		_ = f.Close()
		_ = os.Remove(f.Name())
	}()
	block := make([]byte, 4<<10)
	const tries = 200
	for start, i := time.Now(), int64(0); i < tries && time.Since(start) < time.Second && ctx.Err() == nil; i++ {
		at := time.Now()
		if _, err := f.WriteAt(block, i*int64(len(block))); err != nil {
			return h, fmt.Errorf("measure disk: %w", err)
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return h, fmt.Errorf("measure disk: %w", err)
		}
		h.add(time.Since(at))
	}
	return h, nil
}

// commit names the tree that is measured: the short hash, with "-dirty" if
// anything but results differs from it.
func commit(ctx context.Context) string {
	root, err := moduleRoot()
	if err != nil {
		return "unknown"
	}
	git := func(args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, "git", args...) //nolint:gosec // constant arguments
		cmd.Dir = root
		out, err := cmd.Output()
		return strings.TrimSpace(string(out)), err
	}
	hash, err := git("rev-parse", "--short", "HEAD")
	if err != nil {
		return "unknown"
	}
	changed, err := git("status", "--porcelain", "--", ".", ":!"+filepath.ToSlash(resultsFolder))
	if err != nil || changed != "" {
		return hash + "-dirty"
	}
	return hash
}

// resultsFolder is where results are checked in.
const resultsFolder = "bench/results"

// Package profiler takes CPU profiles of the server that the benchmark measures.
// No released program contains it: `bench -profile` builds a server of its own with
// one file more, which calls Start.
package profiler

import (
	"bytes"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"syscall"
)

// Source is the file that a server is built with.
const Source = `package main

import "github.com/jobcast/jobcast/bench/profiler"

func init() { profiler.Start() }
`

// Path is where the process pid leaves its profile.
func Path(pid int) string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("jobcast-bench-%d.pprof", pid))
}

// Start listens to signals until the process ends: SIGUSR1 begins a profile,
// SIGUSR2 ends it and writes it to Path.
func Start() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2)
	go func() {
		var profile bytes.Buffer
		for s := range signals {
			if s == syscall.SIGUSR1 {
				profile.Reset()
				report(pprof.StartCPUProfile(&profile))
				continue
			}
			pprof.StopCPUProfile()
			path := Path(os.Getpid())
			report(os.WriteFile(path+".part", profile.Bytes(), 0o600))
			report(os.Rename(path+".part", path)) // it is there whole or not at all
		}
	}()
}

func report(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "profile:", err)
	}
}

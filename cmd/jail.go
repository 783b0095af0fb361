package cmd

import "github.com/jobcast/jobcast/server"

// jailCmd is what `jobcast serve` starts inside the jail of its browser, in place of that.
type jailCmd struct {
	Args []string `arg:"" optional:""`
}

// Run becomes the browser.
func (j *jailCmd) Run() error { return server.Jailed(j.Args) }

package server

import "github.com/jobcast/jobcast/jobs/action/browser"

// Jailed is the process inside the jail of a browser until it becomes the browser. It
// returns only if that fails.
func Jailed(args []string) error { return browser.Inside(args) }

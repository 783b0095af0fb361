// Command jobcast accepts jobs over HTTP and streams every change of them, live
// and without loss, to whoever may see it.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/jobcast/jobcast/cmd"
)

func main() {
	// The first signal drains; unregistering then lets a second one end the
	// process at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	// Without this a reader of our output that goes away would end the server, and
	// so would a file that may not grow any more.
	signal.Ignore(syscall.SIGPIPE, syscall.SIGXFSZ)
	code := cmd.Run(ctx, os.Args[1:], cmd.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(code)
}

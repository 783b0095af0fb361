package cmd

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// hangup decides what SIGHUP means to a command: `serve` re-reads nothing and
// goes on, to all others it is SIGTERM, unless whoever began the program ignores
// it, as nohup does.
func hangup(ctx context.Context, command string) (context.Context, context.CancelFunc) {
	switch {
	case command == "serve":
		signal.Ignore(syscall.SIGHUP)
	case !signal.Ignored(syscall.SIGHUP):
		ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
		context.AfterFunc(ctx, stop)
		return ctx, stop
	}
	return ctx, func() {}
}

// groups are the process groups of the commands that run. None of them may
// outlive this process: the job would be given to another worker, and be at work
// twice.
type groups struct {
	mu    sync.Mutex // guards what follows, and is held while a command is started
	ids   map[int]struct{}
	ended bool // none is started any more
}

// start starts a command unless all have been killed.
func (g *groups) start(command func() (id int, err error)) (id int, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return 0, context.Canceled
	}
	if id, err = command(); err != nil {
		return 0, err
	}
	if g.ids == nil {
		g.ids = make(map[int]struct{})
	}
	g.ids[id] = struct{}{}
	return id, nil
}

// over forgets a command. It is called before its id can be another one's.
func (g *groups) over(id int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.ids, id)
}

func (g *groups) kill() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = true
	for id := range g.ids {
		_ = syscall.Kill(-id, syscall.SIGKILL) // an error says that nobody is left
	}
}

// guard kills the commands before a signal ends this process: the second one that
// asks it to stop, or SIGQUIT.
func (g *groups) guard() (stop func()) {
	signals := make(chan os.Signal, 2)
	wanted := []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT}
	if !signal.Ignored(syscall.SIGHUP) {
		wanted = append(wanted, syscall.SIGHUP)
	}
	signal.Notify(signals, wanted...)
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for asked := false; ; asked = true {
			select {
			case s := <-signals:
				if !asked && s != syscall.SIGQUIT {
					continue
				}
				g.kill()
				signal.Reset(s)
				if number, ok := s.(syscall.Signal); ok {
					_ = syscall.Kill(os.Getpid(), number) // it ends us
				}
			case <-over:
				return
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(over)
		<-ended
	}
}

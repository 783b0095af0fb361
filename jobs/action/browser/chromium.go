package browser

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/chromedp/chromedp"
	"golang.org/x/sys/unix"
)

const startTime = 20 * time.Second // after which a browser that does not stand is given up

// chromium is one process of the browser, with all that it starts.
type chromium struct {
	o       Options
	tally   *tally
	ctx     context.Context    // chromedp's; ends when the process is gone or is to go
	stop    context.CancelFunc // ends ctx, and what waits in the pipes, without waiting
	folder  folder
	files   string // in folder: files of attempts; as the browser sees it: inside
	inside  string
	ports   []*port
	pid     int             // also of its process group
	lost    <-chan struct{} // closed once it says nothing any more
	serving sync.WaitGroup  // ports and what they serve
	gone    chan struct{}   // closed once nothing of it is left
	bytes   atomic.Int64    // of memory, as it was watched last

	mu      sync.Mutex // guards what follows
	open    map[*session]struct{}
	crowd   int       // sessions that were open when it died
	culprit *session  // who brought it down; nil: nobody knows
	killed  reason    // empty: it was not
	starved time.Time // when a renderer was killed because there was no memory left
}

// start starts a browser. ctx bounds the waiting of whoever needs it.
func start(ctx context.Context, o Options, t *tally) (*chromium, error) {
	program, bwrap, err := find(o)
	if err != nil {
		return nil, err
	}
	c := &chromium{o: o, tally: t, gone: make(chan struct{}), open: make(map[*session]struct{})}
	if c.folder, err = newFolder(); err != nil {
		return nil, err
	}
	c.files, c.inside = c.folder.files(), c.folder.files()
	var launch func(*exec.Cmd)
	var listeners func() ([]net.Listener, error)
	home := filepath.Join(c.folder.path, "home")
	if o.NoJail {
		launch, listeners, err = c.bare(home)
	} else {
		home, c.inside = jailHome, jailFiles
		launch, listeners, err = c.jailed(program, bwrap)
	}
	if err == nil {
		err = c.run(ctx, program, home, launch, listeners)
	}
	if err != nil {
		return nil, errors.Join(err, c.folder.remove())
	}
	return c, nil
}

// bare prepares a start without a jail.
func (c *chromium) bare(home string) (func(*exec.Cmd), func() ([]net.Listener, error), error) {
	if err := errors.Join(os.Mkdir(home, 0o700), give(home)); err != nil {
		return nil, nil, fmt.Errorf("make the browser's home: %w", err)
	}
	return func(*exec.Cmd) {}, func() ([]net.Listener, error) {
		var all []net.Listener
		for range c.o.Contexts {
			ln, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				closeAll(all)
				return nil, fmt.Errorf("listen for the browser: %w", err)
			}
			all = append(all, ln)
		}
		return all, nil
	}, nil
}

// jailed prepares a start in a jail.
func (c *chromium) jailed(program, bwrap string) (func(*exec.Cmd), func() ([]net.Listener, error), error) {
	helper, err := helper(c.folder.path)
	if err != nil {
		return nil, nil, err
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, nil, err
	}
	launch := func(cmd *exec.Cmd) {
		args := append([]string{bwrap}, jailArgs(program, helper, c.files)...)
		args = append(args, jailHelper, JailCommand, strconv.Itoa(c.o.Contexts))
		cmd.Path, cmd.Args = bwrap, append(args, cmd.Args...)
		cmd.ExtraFiles = append(cmd.ExtraFiles, theirs)
	}
	return launch, func() ([]net.Listener, error) {
		defer func() { _ = ours.Close() }() // it has given what it had
		_ = theirs.Close()                  // the browser stands or has failed: what it sent is there
		return handedOver(ours, c.o.Contexts)
	}, nil
}

// run starts the process, waits until it answers, and looks after it from then on.
func (c *chromium) run(ctx context.Context, program, home string, launch func(*exec.Cmd), listeners func() ([]net.Listener, error)) error {
	alive, stop := context.WithCancel(context.Background())
	modify := func(cmd *exec.Cmd) {
		launch(cmd)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		if os.Getuid() == 0 {
			cmd.SysProcAttr.Credential = &syscall.Credential{Uid: browserUser, Gid: browserUser}
		}
		if err := c.bound(alive, cmd); err != nil {
			c.o.Logger.Warn("messages of the browser are not bounded", "error", err)
		}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	}
	base, endBase := chromedp.NewExecAllocator(alive, append(c.o.flags(),
		chromedp.ExecPath(program), chromedp.UserDataDir(filepath.Join(home, "profile")), chromedp.NoInheritEnv,
		chromedp.Env("HOME="+home, "TMPDIR="+home, "LANG=C.UTF-8"), chromedp.ModifyCmdFunc(modify))...)
	running, end := chromedp.NewContext(base, chromedp.WithBrowserOption(chromedp.WithBrowserErrorf(c.debugf), chromedp.WithBrowserLogf(c.debugf)))
	c.ctx, c.stop = running, stop
	stands := make(chan error, 1)
	go func() { stands <- chromedp.Do(running) }()
	limit := time.NewTimer(startTime)
	defer limit.Stop()
	var err error
	select {
	case err = <-stands:
	case <-limit.C:
		err = fmt.Errorf("it did not answer within %v", startTime)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	all, err2 := listeners()
	if err == nil {
		err = err2
	}
	if err != nil {
		stop()
		end() // waits until it is gone
		endBase()
		closeAll(all)
		return err
	}
	process := chromedp.FromContext(running).Browser
	c.pid, c.lost = process.Process().Pid, process.LostConnection
	for _, ln := range all {
		p := &port{ln: ln}
		c.ports = append(c.ports, p)
		c.serving.Go(func() { p.run(&c.serving) })
	}
	go c.watch()
	c.serving.Go(c.ask)
	c.serving.Go(func() {
		_ = chromedp.WaitClosed(running) // chromedp itself learns from its pipe only, which may be full
		stop()
	})
	go func() {
		<-running.Done()
		c.death()
		stop()
		_ = syscall.Kill(-c.pid, syscall.SIGKILL) // whatever of its group outlives it
		end()
		endBase()
		closeAll(all)
		c.serving.Wait()
		if err := c.folder.remove(); err != nil {
			c.o.Logger.Warn("the browser's folder was not removed", "folder", c.folder.path, "error", err)
		}
		close(c.gone)
	}()
	return nil
}

// bound puts a sieve before what comes through the browser's descriptor 4, because a page
// chooses how long some messages are. chromedp keeps the file that it has made and closes it
// once the process has started, so another pipe is put in the place of its descriptor.
// When alive ends, nothing waits in either pipe any more.
func (c *chromium) bound(alive context.Context, cmd *exec.Cmd) error {
	given := int(cmd.ExtraFiles[1].Fd())
	kept, err := unix.FcntlInt(uintptr(given), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("keep chromedp's pipe: %w", err)
	}
	in, theirs, err := os.Pipe()
	if err == nil {
		err = unix.Dup3(int(theirs.Fd()), given, unix.O_CLOEXEC)
		_ = theirs.Close() // it has a copy
	}
	if err != nil {
		_ = unix.Close(kept) // it is not used
		return fmt.Errorf("put a pipe before chromedp's: %w", err)
	}
	_ = unix.SetNonblock(kept, true) // so that closing it ends a Write; it is a descriptor, so it can
	out := os.NewFile(uintptr(kept), "to chromedp")
	shut := func() { _, _ = in.Close(), out.Close() }
	context.AfterFunc(alive, shut)
	c.serving.Go(func() {
		(&sieve{out: out, longest: maxMessage, logged: maxLogged}).pass(in)
		shut() // which ends the browser, if it has not ended by itself
	})
	return nil
}

// debugf logs what chromedp has to say, without what it quotes: that is of pages, and may
// hold their secrets.
func (c *chromium) debugf(format string, _ ...any) {
	c.o.Logger.Debug("chromedp says", "format", format)
}

// flags returns how Chromium is told to behave, beside the defaults of chromedp. What it
// does not do through the proxy of a context leads nowhere.
func (o Options) flags() []chromedp.ExecAllocatorOption {
	all := append([]chromedp.ExecAllocatorOption{}, chromedp.DefaultExecAllocatorOptions[:]...)
	for name, value := range map[string]any{
		"no-sandbox":                      o.NoSandbox,
		"proxy-server":                    "socks5://127.0.0.1:9",
		"proxy-bypass-list":               "<-loopback>",
		"host-resolver-rules":             "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
		"webrtc-ip-handling-policy":       "disable_non_proxied_udp",
		"force-webrtc-ip-handling-policy": "disable_non_proxied_udp",
		"disable-quic":                    true,
		"dns-prefetch-disable":            true,
		"disable-features":                "Translate,MediaRouter,DialMediaRouteProvider,OptimizationHints,AutofillServerCommunication",
		"disable-component-update":        true,
		"disable-domain-reliability":      true,
		"disable-crash-reporter":          true,
		"no-pings":                        true,
		"disable-gpu":                     true,
		"disable-ipc-flooding-protection": false,
		"font-render-hinting":             "none",
		"window-size":                     "1280,800",
	} {
		if !o.leaky || !strings.HasSuffix(name, "webrtc-ip-handling-policy") {
			all = append(all, chromedp.Flag(name, value))
		}
	}
	return all
}

// kill ends the browser; who is to blame may be nil. What it leaves is gone soon after. It
// is dead from then on: chromedp's reader may be stuck and would not see that it has gone.
func (c *chromium) kill(blame *session, why reason) {
	c.mu.Lock()
	if c.culprit == nil && c.ctx.Err() == nil {
		c.culprit = blame
	}
	if c.killed == "" && c.ctx.Err() == nil {
		c.killed = why
	}
	c.mu.Unlock()
	_ = syscall.Kill(-c.pid, syscall.SIGKILL)
	c.stop()
}

// why returns why it has ended.
func (c *chromium) why() reason {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.killed == "" {
		return byItself
	}
	return c.killed
}

// dead reports whether the browser is gone, or about to be.
func (c *chromium) dead() bool {
	select {
	case <-c.lost: // commands fail from then on, before ctx ends
		return true
	default:
		return c.ctx.Err() != nil
	}
}

// death returns who brought down a browser that is dead, nil if nobody knows, and how many
// sessions were open then.
func (c *chromium) death() (culprit *session, crowd int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.crowd == 0 {
		c.crowd = len(c.open)
	}
	return c.culprit, c.crowd
}

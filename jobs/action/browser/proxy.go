package browser

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/jobs/action"
	"github.com/jobcast/jobcast/jobs/action/browser/steps"
)

// Limits of what one context does on the network.
const (
	maxConns    = 256       // open at once; a page with six hosts has 36
	maxTraffic  = 512 << 20 // bytes in both directions together
	maxFaults   = 200       // hosts remembered that could not be reached
	socksTime   = 10 * time.Second
	socksBuffer = 32 << 10
)

// port is a listener that one context after the other uses as its proxy.
type port struct {
	ln net.Listener

	mu    sync.Mutex // guards owner
	owner *proxy     // nil: nobody's
}

// server is the port as Chromium is told it. Names travel to a SOCKS5 proxy as they are, so
// that we resolve them.
func (p *port) server() string { return "socks5://" + p.ln.Addr().String() }

// run accepts until the listener is closed.
func (p *port) run(wait *sync.WaitGroup) {
	for {
		c, err := p.ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			<-time.After(10 * time.Millisecond) // out of descriptors, maybe
			continue
		}
		p.mu.Lock()
		owner := p.owner
		p.mu.Unlock()
		if owner == nil || !owner.enter(c) {
			_ = c.Close() // it has no owner, or too many
			continue
		}
		wait.Go(func() {
			defer owner.leave(c)
			owner.serve(c)
		})
	}
}

func (p *port) hand(to *proxy) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.owner = to
}

// proxy is the network of one context.
type proxy struct {
	guard Guard
	hosts jobs.Hosts // of the job
	tally *tally
	ctx   context.Context
	end   context.CancelFunc
	left  atomic.Int64 // bytes

	mu     sync.Mutex // guards what follows
	conns  map[net.Conn]struct{}
	faults map[string]error // why "host:port" was not reached, newest
}

func newProxy(guard Guard, hosts jobs.Hosts, t *tally) *proxy {
	p := &proxy{guard: guard, hosts: hosts, tally: t, conns: make(map[net.Conn]struct{}), faults: make(map[string]error)}
	p.ctx, p.end = context.WithCancel(context.Background())
	p.left.Store(maxTraffic)
	return p
}

// close cuts all connections.
func (p *proxy) close() {
	p.end()
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close() // whoever serves it sees so
	}
}

func (p *proxy) enter(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil || len(p.conns) >= maxConns {
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *proxy) leave(c net.Conn) {
	_ = c.Close() // it may be closed already
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// serve answers one connection of the browser: what of SOCKS5 (RFC 1928) it uses, which is
// CONNECT without authentication.
func (p *proxy) serve(c net.Conn) {
	_ = c.SetDeadline(time.Now().Add(socksTime)) // fails only if it is closed
	host, portNumber, err := readConnect(c)
	if err != nil {
		return
	}
	_ = c.SetDeadline(time.Time{})
	address := net.JoinHostPort(host, strconv.Itoa(portNumber))
	out, err := p.connect(host, address)
	if err != nil {
		p.note(address, err)
		_, _ = c.Write(socksReply(err)) // the browser is told why, as far as SOCKS can
		return
	}
	defer func() { _ = out.Close() }() // it may be closed already
	stop := context.AfterFunc(p.ctx, func() { _ = out.Close() })
	defer stop()
	if _, err := c.Write(socksReply(nil)); err != nil {
		return
	}
	p.splice(c, out)
}

func (p *proxy) connect(host, address string) (net.Conn, error) {
	if p.left.Load() <= 0 {
		return nil, errTraffic
	}
	if err := p.guard.Permits(host, p.hosts); err != nil {
		return nil, err
	}
	return p.guard.Dial(p.ctx, "tcp", address)
}

// errTraffic ends what a context has to do with the network.
var errTraffic = fmt.Errorf("the job has moved %d MiB", maxTraffic>>20)

// splice moves bytes both ways until both have ended, or one way fails.
func (p *proxy) splice(a, b net.Conn) {
	var ways sync.WaitGroup
	way := func(to, from net.Conn) {
		_, err := io.CopyBuffer(counted{to, &p.left}, onlyReader{from}, make([]byte, socksBuffer))
		if half, ok := to.(interface{ CloseWrite() error }); ok && err == nil {
			_ = half.CloseWrite() // the other way goes on
			return
		}
		_, _ = a.Close(), b.Close()
	}
	ways.Go(func() { way(a, b) })
	way(b, a)
	ways.Wait()
}

// onlyReader hides what would let io.CopyBuffer go around counted.
type onlyReader struct{ io.Reader }

type counted struct {
	to   io.Writer
	left *atomic.Int64
}

func (c counted) Write(b []byte) (int, error) {
	if c.left.Add(-int64(len(b))) < 0 {
		return 0, errTraffic
	}
	return c.to.Write(b)
}

// note remembers why an address was not reached.
func (p *proxy) note(address string, err error) {
	p.tally.refused(err)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.faults) >= maxFaults {
		clear(p.faults)
	}
	p.faults[strings.ToLower(address)] = err
}

// fault returns why the document of a URL did not load, as far as that was this proxy's
// doing; else nil.
func (p *proxy) fault(of string) error {
	u, err := url.Parse(of)
	if err != nil {
		u = &url.URL{} // nothing that a proxy was asked for
	}
	portNumber := u.Port()
	if portNumber == "" {
		portNumber = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	p.mu.Lock()
	known := p.faults[strings.ToLower(net.JoinHostPort(u.Hostname(), portNumber))]
	p.mu.Unlock()
	if known == nil {
		return nil
	}
	if blocked := action.Blocked(u.Hostname(), known); blocked != nil {
		return blocked
	}
	return &jobs.ActionError{Class: steps.ClassNavigation, Message: netError(known) + " at " + shown(u), Retryable: true, Err: known}
}

// shown is a URL without what may be secret in it.
func shown(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// netError is Chromium's name of a network error.
func netError(err error) string {
	var dns *net.DNSError
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, errTraffic):
		return fmt.Sprintf("net::ERR_BLOCKED_BY_CLIENT (%v)", errTraffic)
	case errors.As(err, &dns) && dns.IsNotFound:
		return "net::ERR_NAME_NOT_RESOLVED"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "net::ERR_CONNECTION_TIMED_OUT"
	case errors.As(err, &dns):
		return "net::ERR_NAME_RESOLUTION_FAILED"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "net::ERR_CONNECTION_REFUSED"
	case errors.Is(err, syscall.ECONNRESET):
		return "net::ERR_CONNECTION_RESET"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "net::ERR_ADDRESS_UNREACHABLE"
	}
	return "net::ERR_CONNECTION_FAILED"
}

// Of SOCKS5.
const (
	socksVersion = 5
	socksConnect = 1
	socksIPv4    = 1
	socksName    = 3
	socksIPv6    = 4

	socksRefused     = 2 // not allowed by the ruleset
	socksUnreachable = 4
)

var errSocks = errors.New("not what a browser asks of a proxy")

// readConnect reads what a browser says to a SOCKS5 proxy, and answers the first half.
func readConnect(c io.ReadWriter) (host string, portNumber int, err error) {
	var head [4]byte
	if _, err := io.ReadFull(c, head[:2]); err != nil || head[0] != socksVersion {
		return "", 0, errSocks
	}
	methods := make([]byte, head[1])
	if _, err := io.ReadFull(c, methods); err != nil {
		return "", 0, errSocks
	}
	if _, err := c.Write([]byte{socksVersion, 0}); err != nil { // no authentication
		return "", 0, err
	}
	if _, err := io.ReadFull(c, head[:]); err != nil || head[0] != socksVersion || head[1] != socksConnect {
		return "", 0, errSocks
	}
	size := map[byte]int{socksIPv4: 4, socksIPv6: 16}[head[3]]
	if head[3] == socksName {
		var n [1]byte
		if _, err := io.ReadFull(c, n[:]); err != nil {
			return "", 0, errSocks
		}
		size = int(n[0])
	}
	raw := make([]byte, size+2)
	if _, err := io.ReadFull(c, raw); err != nil || size == 0 {
		return "", 0, errSocks
	}
	if host = string(raw[:size]); head[3] != socksName {
		addr, _ := netip.AddrFromSlice(raw[:size])
		host = addr.String()
	}
	if strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r >= 0x7F }) {
		return "", 0, errSocks
	}
	return host, int(binary.BigEndian.Uint16(raw[size:])), nil
}

func socksReply(err error) []byte {
	code := byte(0)
	if err != nil {
		if code = socksUnreachable; action.Blocked("", err) != nil {
			code = socksRefused
		}
	}
	return []byte{socksVersion, code, 0, socksIPv4, 0, 0, 0, 0, 0, 0}
}

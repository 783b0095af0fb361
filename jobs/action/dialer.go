package action

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/jobcast/jobcast/jobs"
)

// errBlocked refuses an address. It does not say which one: that would tell a
// stranger what a name of the inner network resolves to.
var errBlocked = errors.New("the address is not public")

// errNotListed refuses a host by the lists of the server or of the job.
var errNotListed = errors.New("the host is not among those that may be reached")

const dialTimeout = 10 * time.Second

// Guard opens the connections of actions, and decides where they may lead. It is safe for
// concurrent use.
type Guard struct {
	dialer *net.Dialer
	hosts  jobs.Hosts // of the server
}

// NewGuard returns a guard that lets actions reach what o allows.
func NewGuard(o Options) *Guard {
	return &Guard{dialer: newDialer(nil, o.AllowPrivateAddresses), hosts: o.Hosts}
}

// Permits returns an error if a job may not reach a host, as it stands in a URL, whatever
// its address is. hosts are the job's own lists, which narrow those of the server.
func (g *Guard) Permits(host string, hosts jobs.Hosts) error {
	switch {
	case oddIPv4(host):
		return errBlocked
	case !g.hosts.Permits(host) || !hosts.Permits(host):
		return errNotListed
	}
	return nil
}

// Dial connects to a host that Permits has let pass; see newDialer.
func (g *Guard) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return g.dialer.DialContext(ctx, network, address)
}

// Blocked returns the failure of an action that wanted to reach what it may not, if err of
// Permits or Dial says so; else nil.
func Blocked(host string, err error) *jobs.ActionError {
	e := &jobs.ActionError{Class: ClassBlocked, Err: err}
	switch {
	case errors.Is(err, errBlocked):
		e.Message = host + ", or a redirect from it, leads to an address that is not public"
	case errors.Is(err, errNotListed):
		e.Message = host + ", or a redirect from it, leads to a host that is not among those this job may reach"
	default:
		return nil
	}
	return e
}

// newDialer returns a dialer that, unless private, connects to public
// addresses only. The decision is taken on each address right before the
// connection is opened, after all spelling and resolving, so that neither an
// odd spelling nor a name whose answer changes gets around it.
func newDialer(resolver *net.Resolver, private bool) *net.Dialer {
	d := &net.Dialer{Timeout: dialTimeout, Resolver: resolver}
	if !private {
		d.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(address)
			if err != nil || !public(ap.Addr()) {
				return errBlocked
			}
			return nil
		}
	}
	return d
}

// oddIPv4 reports whether host is a number that some resolvers take for an IPv4
// address although it is not four decimals, e.g. 127.1, 0x7f000001 or
// 0177.0.0.1 (its last label is a number; URL standard, "ends in a number").
func oddIPv4(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return false
	}
	last := strings.TrimSuffix(host, ".")
	last = strings.ToLower(last[strings.LastIndexByte(last, '.')+1:])
	digits, allowed := last, "0123456789"
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		digits, allowed = hex, "0123456789abcdef"
	}
	return last != "" && strings.Trim(digits, allowed) == ""
}

// public reports whether a is a global unicast address that anybody may reach.
func public(a netip.Addr) bool {
	if a.Zone() != "" || a.Is4In6() {
		return false
	}
	blocked := specialV4()
	if a.Is6() {
		// Only 2000::/3 is handed out. This refuses loopback, link-local,
		// site-local, unique local and multicast, NAT64 (64:ff9b::/96 and
		// 64:ff9b:1::/48) and every other form that carries an IPv4 address.
		if !netip.MustParsePrefix("2000::/3").Contains(a) {
			return false
		}
		blocked = specialV6()
	}
	for _, p := range blocked {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// specialV4 returns the networks of the IANA IPv4 Special-Purpose Address
// Registry (RFC 6890) and a few more.
func specialV4() []netip.Prefix {
	return prefixes(
		"0.0.0.0/8",        // this network
		"10.0.0.0/8",       // private
		"100.64.0.0/10",    // shared by carriers
		"127.0.0.0/8",      // loopback
		"168.63.129.16/32", // looks public, is the host of an Azure machine
		"169.254.0.0/16",   // link-local, cloud metadata
		"172.16.0.0/12",    // private
		"192.0.0.0/24",     // IETF protocol assignments
		"192.0.2.0/24",     // documentation
		"192.31.196.0/24",  // AS112
		"192.52.193.0/24",  // multicast tunnels
		"192.88.99.0/24",   // 6to4 relays
		"192.168.0.0/16",   // private
		"192.175.48.0/24",  // AS112
		"198.18.0.0/15",    // benchmarking
		"198.51.100.0/24",  // documentation
		"203.0.113.0/24",   // documentation
		"224.0.0.0/4",      // multicast
		"240.0.0.0/4",      // reserved, broadcast
	)
}

// specialV6 returns the networks within 2000::/3 that are not for everybody
// (IANA IPv6 Special-Purpose Address Registry).
func specialV6() []netip.Prefix {
	return prefixes(
		"2001::/23",         // IETF protocol assignments: Teredo, benchmarking, ORCHID
		"2001:db8::/32",     // documentation
		"2002::/16",         // 6to4
		"2620:4f:8000::/48", // AS112
		"3ffe::/16",         // the 6bone, returned
		"3fff::/20",         // documentation
	)
}

func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(texts))
	for i, s := range texts {
		list[i] = netip.MustParsePrefix(s)
	}
	return list
}

package transport

import (
	"net"
	"net/netip"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/auth"
)

// proxyHeaders are what proxies add to a request that they pass on.
const proxyHeaders = "X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Real-Ip Forwarded Via"

// ClientAddr returns where a request came from: the peer of the TCP connection,
// or, if that is a trusted proxy, the rightmost address of X-Forwarded-For that
// is none. What stands left of that address was written by the caller and is
// not read. An unreadable address ends the walk at the last good one.
func (d *Door) ClientAddr(c *fiber.Ctx) netip.Addr {
	addr := peerAddr(c)
	var hops []string
	for _, line := range c.Request().Header.PeekAll(fiber.HeaderXForwardedFor) {
		hops = append(hops, strings.Split(string(line), ",")...)
	}
	for i := len(hops) - 1; i >= 0 && d.trusts(addr); i-- {
		if strings.TrimSpace(hops[i]) == "" {
			continue // an empty element of a list is none (RFC 9110 5.6.1.2)
		}
		next, ok := parseHop(hops[i])
		if !ok {
			break
		}
		addr = next
	}
	return addr
}

// Agent returns the User-Agent of a request, for connections to keep.
func Agent(c *fiber.Ctx) auth.Agent { return auth.NewAgent(string(c.Request().Header.UserAgent())) }

// Holder says who has a connection, of those who share what strangers may take: the
// peer's address, of IPv6 the /64. A trusted proxy is nobody (the zero Addr), as there
// are many behind it.
func (d *Door) Holder(peer net.Addr) netip.Addr {
	tcp, ok := peer.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	addr, _ := netip.AddrFromSlice(tcp.IP)
	if addr = addr.Unmap(); d.trusts(addr) {
		return netip.Addr{}
	}
	return auth.Network(addr)
}

// Sharer is Holder for a request: it looks behind trusted proxies.
func (d *Door) Sharer(c *fiber.Ctx) string { return auth.Network(d.ClientAddr(c)).String() }

// Local reports whether a request came straight from this machine: a loopback
// peer, no trace of a proxy, and not from a web page (a page of any site can
// make its visitor's browser call loopback).
func Local(c *fiber.Ctx) bool {
	_, socket := c.Context().RemoteAddr().(*net.UnixAddr)
	if !socket && !peerAddr(c).IsLoopback() || c.Get(fiber.HeaderOrigin) != "" {
		return false
	}
	for name := range strings.FieldsSeq(proxyHeaders) {
		if len(c.Request().Header.PeekAll(name)) > 0 {
			return false
		}
	}
	return true
}

func (d *Door) trusts(addr netip.Addr) bool {
	for _, p := range d.proxies {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// UnixPeer stands for the address of whoever connects over a unix socket, or in memory:
// no peer over TCP has it.
var UnixPeer = netip.IPv4Unspecified()

func peerAddr(c *fiber.Ctx) netip.Addr {
	tcp, ok := c.Context().RemoteAddr().(*net.TCPAddr)
	if !ok {
		return UnixPeer
	}
	addr, _ := netip.AddrFromSlice(tcp.IP)
	return addr.Unmap()
}

// parseHop reads one element of X-Forwarded-For; some proxies add the port.
func parseHop(s string) (netip.Addr, bool) {
	s = strings.TrimSpace(s)
	addr, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if err != nil {
		ap, err := netip.ParseAddrPort(s)
		if err != nil {
			return netip.Addr{}, false
		}
		addr = ap.Addr()
	}
	return addr.Unmap().WithZone(""), true
}

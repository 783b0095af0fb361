package action

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/jobcast/jobcast/jobs"
)

// stubResolver answers every question of a name with answer's addresses, over
// an in-memory connection.
func stubResolver(answer func(name string) []netip.Addr) *net.Resolver {
	return &net.Resolver{
		PreferGo: true,
		Dial: func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go serveDNS(theirs, answer)
			return ours, nil
		},
	}
}

// serveDNS speaks DNS over a stream: each message has a length before it.
func serveDNS(c net.Conn, answer func(string) []netip.Addr) {
	defer c.Close()
	buf := make([]byte, 2+4096)
	for {
		if _, err := readFull(c, buf[:2]); err != nil {
			return
		}
		n := int(buf[0])<<8 | int(buf[1])
		if _, err := readFull(c, buf[:n]); err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
			return
		}
		m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
		q := m.Questions[0]
		for _, a := range answer(strings.TrimSuffix(q.Name.String(), ".")) {
			h := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, Type: q.Type}
			switch {
			case q.Type == dnsmessage.TypeA && a.Is4():
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: a.As4()}})
			case q.Type == dnsmessage.TypeAAAA && a.Is6():
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
			}
		}
		out, err := m.AppendPack(make([]byte, 2))
		if err != nil {
			return
		}
		out[0], out[1] = byte((len(out)-2)>>8), byte(len(out)-2)
		if _, err := c.Write(out); err != nil {
			return
		}
	}
}

func readFull(c net.Conn, b []byte) (int, error) {
	for n := 0; n < len(b); {
		m, err := c.Read(b[n:])
		if err != nil {
			return n, err
		}
		n += m
	}
	return len(b), nil
}

func loopbackAnswers(string) []netip.Addr {
	return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")}
}

// trap is a server on the loopback that counts who got through to it.
func trap(t *testing.T) (port string, hits *atomic.Int64) {
	hits = new(atomic.Int64)
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	t.Cleanup(srv.Close)
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Port(), hits
}

// privateHosts is what must not be reached, as it may stand in a url. Names
// resolve to the loopback.
func privateHosts() []string {
	return strings.Fields(`
		127.0.0.1 127.1 127.0.1 127.0.0.2 127.255.255.254 127.0.0.1. 2130706433 017700000001 0x7f000001
		0x7f.0.0.1 0177.0.0.1 0x7f.1 0177.0x0.0.1 0127.0.0.1 00000177.0.0.1 127.000.000.001 4294967297
		0 0.0.0.0 0.0.0.1 0x0 00 0.1.2.3 localhost LOCALHOST localhost. trap.localhost
		10.0.0.1 10.255.255.255 0xa.0.0.1 167772161 172.16.0.1 172.31.255.255 192.168.0.1 192.168.255.255
		169.254.169.254 2852039166 0xA9FEA9FE 0251.0376.0251.0376 169.254.0.1 168.63.129.16
		100.64.0.1 100.100.100.200 100.127.255.255 192.0.0.1 192.0.0.192 192.0.2.1 198.18.0.1 198.19.255.255
		198.51.100.1 203.0.113.1 192.88.99.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
		[::] [::1] [0:0:0:0:0:0:0:1] [::ffff:127.0.0.1] [::ffff:7f00:1] [::ffff:10.0.0.1] [::127.0.0.1]
		[::ffff:0:127.0.0.1] [64:ff9b::127.0.0.1] [64:ff9b::7f00:1] [64:ff9b:1::7f00:1] [2002:7f00:1::]
		[2002:a00:1::1] [2001::1] [2001:0:7f00:1::] [2001:2::1] [2001:10::1] [2001:db8::1] [3fff::1] [3ffe::1]
		[fc00::1] [fd00::1] [fd00:ec2::254] [fe80::1] [fe80::1%25lo] [fec0::1] [ff02::1] [ff0e::1] [100::1] [5f00::1]
		127.0.0.1.nip.test 169.254.169.254.xip.test rebind.test metadata.google.internal ⑯⑨。②⑤④。⑯⑨｡②⑤④ ①②⑦.⓪.⓪.①
	`)
}

func call(h *HTTP, target string) error {
	raw, err := json.Marshal(map[string]string{"type": "http", "url": target})
	if err != nil {
		return err
	}
	_, err = h.Run(context.Background(), raw, jobs.Env{})
	return err
}

func TestPrivateAddressesAreNotReached(t *testing.T) {
	port, hits := trap(t)
	h := newHTTP(&Guard{dialer: newDialer(stubResolver(loopbackAnswers), false)})
	hosts := privateHosts()
	if len(hosts) < 60 {
		t.Fatalf("only %d targets", len(hosts))
	}
	for _, host := range hosts {
		for _, scheme := range []string{"http", "https", "HTTP"} {
			target := scheme + "://" + host + ":" + port + "/"
			err := call(h, target)
			var e *jobs.ActionError
			if !errors.As(err, &e) || (e.Class != ClassBlocked && e.Class != ClassInvalid) || e.Retryable {
				t.Errorf("%s: %v", target, err)
			}
		}
	}
	if n := hits.Load(); n != 0 {
		t.Errorf("the trap was hit %d times", n)
	}
}

// The trap works: whoever may reach private addresses falls into it.
func TestPrivateAddressesCanBeAllowed(t *testing.T) {
	port, hits := trap(t)
	h := newHTTP(&Guard{dialer: newDialer(stubResolver(loopbackAnswers), true)})
	for _, host := range []string{"127.0.0.1", "[::ffff:127.0.0.1]", "rebind.test", "localhost"} {
		if err := call(h, "http://"+host+":"+port+"/"); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if n := hits.Load(); n != 4 {
		t.Errorf("the trap was hit %d times, want 4", n)
	}
}

// A public server cannot exist in a test, so the first hop is let through by a
// dialer that connects one chosen name to a local server and guards the rest.
func TestRedirectIntoLoopback(t *testing.T) {
	port, hits := trap(t)
	for _, host := range append(privateHosts(), "file:///etc/passwd", "gopher://127.0.0.1/") {
		location := "http://" + host + ":" + port + "/"
		if strings.Contains(host, "/") {
			location = host
		}
		door := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", location)
			w.WriteHeader(http.StatusFound)
		}))
		err := call(doorway(door), "http://public.test/")
		door.Close()
		var e *jobs.ActionError
		if !errors.As(err, &e) || e.Retryable || e.Class != ClassBlocked {
			t.Errorf("redirect to %s: %v", location, err)
		}
	}
	if n := hits.Load(); n != 0 {
		t.Errorf("the trap was hit %d times", n)
	}
}

func doorway(door *httptest.Server) *HTTP {
	guarded := newDialer(stubResolver(loopbackAnswers), false)
	h := newHTTP(&Guard{dialer: guarded})
	h.transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == "public.test:80" {
			var open net.Dialer
			return open.DialContext(ctx, network, door.Listener.Addr().String())
		}
		return guarded.DialContext(ctx, network, address)
	}
	return h
}

// The name answers with a public address when it is looked up first and with a
// private one afterwards.
func TestRebinding(t *testing.T) {
	port, hits := trap(t)
	var asked atomic.Int64
	h := newHTTP(&Guard{dialer: newDialer(stubResolver(func(name string) []netip.Addr {
		if asked.Add(1) <= 2 {
			return nil
		}
		return loopbackAnswers(name)
	}), false)})
	for range 4 {
		if err := call(h, "http://rebind.test:"+port+"/"); err == nil {
			t.Error("no error")
		}
	}
	if asked.Load() < 4 || hits.Load() != 0 {
		t.Errorf("asked %d, hit %d", asked.Load(), hits.Load())
	}
}

// Even past the checks of the url, the dialer itself lets no spelling through,
// whichever resolver reads it.
func TestDialerRefusesOddSpellings(t *testing.T) {
	port, hits := trap(t)
	odd := 0
	for _, host := range privateHosts() {
		if !oddIPv4(host) {
			continue
		}
		odd++
		for _, resolver := range []*net.Resolver{nil, stubResolver(loopbackAnswers)} {
			c, err := newDialer(resolver, false).DialContext(context.Background(), "tcp", net.JoinHostPort(host, port))
			if err == nil {
				c.Close()
				t.Errorf("%s was reached", host)
			}
		}
	}
	if odd < 20 || hits.Load() != 0 {
		t.Errorf("%d odd spellings, %d hits", odd, hits.Load())
	}
	for _, host := range []string{"1.2.3.4", "example.com", "example.com.", "a1.b2", "::1", "0x7g", "1.example"} {
		if oddIPv4(host) {
			t.Errorf("%s is not odd", host)
		}
	}
}

func TestPublic(t *testing.T) {
	for _, s := range []string{
		"1.1.1.1", "8.8.8.8", "93.184.216.34", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
		"172.15.255.255", "172.32.0.0", "192.167.255.255", "198.17.255.255", "198.20.0.0", "223.255.255.255",
		"2606:4700::1111", "2001:4860:4860::8888", "2a00:1450::1", "2001:200::1", "2003::1",
	} {
		if !public(netip.MustParseAddr(s)) {
			t.Errorf("%s is public", s)
		}
	}
	for _, s := range []string{
		"0.255.255.255", "10.1.2.3", "127.9.9.9", "198.19.0.1", "255.255.255.255", "::", "::1", "::ffff:8.8.8.8",
		"64:ff9b::808:808", "2002:808:808::", "2001:0:1::1", "fe80::1%eth0", "fec0::1", "fd12::1", "ff05::2",
		"2001:db8:ffff::1", "3fff:fff::1", "4000::1",
	} {
		if public(netip.MustParseAddr(s)) {
			t.Errorf("%s is not public", s)
		}
	}
}

func FuzzPublic(f *testing.F) {
	f.Add([]byte{127, 0, 0, 1})
	f.Add(netip.MustParseAddr("::ffff:10.0.0.1").AsSlice())
	f.Add(netip.MustParseAddr("2001:db8::1").AsSlice())
	f.Fuzz(func(t *testing.T, b []byte) {
		a, ok := netip.AddrFromSlice(b)
		if !ok || !public(a) {
			return
		}
		if !a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.Is4In6() {
			t.Fatal(fmt.Sprint(a, " passes as public"))
		}
	})
}

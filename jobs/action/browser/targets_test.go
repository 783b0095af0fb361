package browser

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// targets are hosts that must not be reached from a page, as they stand in a URL: all kinds
// of addresses that are not public, in all spellings, and names that lead to them.
func targets() []string {
	all := strings.Fields(`127.0.0.1 rebind.trap.test [::1] 2852039166 [::ffff:169.254.169.254] mapped.trap.test link4.trap.test
		127.0.0.2 127.1.2.3 127.255.255.254 0.0.0.0 0.0.0.1 0 10.0.0.1 10.255.255.254 172.16.0.1 172.31.255.254 192.168.0.1 192.168.255.254
		169.254.169.254 169.254.170.2 169.254.0.1 100.64.0.1 100.100.100.200 100.127.255.254 192.0.0.1 192.0.0.192 192.0.2.1
		192.31.196.1 192.52.193.1 192.88.99.1 192.175.48.1 198.18.0.1 198.19.255.254 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.250
		240.0.0.1 255.255.255.255 168.63.129.16
		[::] [0:0:0:0:0:0:0:1] [fc00::1] [fd00::1] [fd00:ec2::254] [fd20:ce::254] [fe80::1] [fec0::1] [ff02::1] [100::1] [2001::1]
		[2001:2::1] [2001:10::1] [2001:20::1] [2001:db8::1] [2620:4f:8000::1] [3ffe::1] [3fff::1] [4000::1] [5f00::1]
		LOCALHOST localhost. sub.localhost %6c%6f%63%61%6c%68%6f%73%74 ip6-localhost`)
	for _, text := range []string{"127.0.0.1", "169.254.169.254", "10.0.0.1", "192.168.0.1"} {
		a := netip.MustParseAddr(text).As4()
		n := binary.BigEndian.Uint32(a[:])
		hi, lo := n>>16, n&0xffff
		all = append(all,
			fmt.Sprint(n), fmt.Sprintf("0x%x", n), fmt.Sprintf("0%o", n), fmt.Sprintf("%#x.%#x.%#x.%#x", a[0], a[1], a[2], a[3]),
			fmt.Sprintf("0%o.0%o.0%o.0%o", a[0], a[1], a[2], a[3]), fmt.Sprintf("%d.%d", a[0], n&0xffffff), fmt.Sprintf("%d.%d.%d", a[0], a[1], lo),
			fmt.Sprintf("%%3%d%s", text[0]-'0', text[1:]), fullWidth(text), text+".",
			fmt.Sprintf("[::ffff:%s]", text), fmt.Sprintf("[::ffff:%x:%x]", hi, lo), fmt.Sprintf("[::%s]", text), fmt.Sprintf("[::ffff:0:%x:%x]", hi, lo),
			fmt.Sprintf("[64:ff9b::%x:%x]", hi, lo), fmt.Sprintf("[64:ff9b:1::%x:%x]", hi, lo), fmt.Sprintf("[2002:%x:%x::1]", hi, lo),
			fmt.Sprintf("[fe80::5efe:%x:%x]", hi, lo),
		)
	}
	for name := range answers {
		if name != "rebind" && name != "link4" && name != "mapped" {
			all = append(all, name+".trap.test")
		}
	}
	return all
}

// fullWidth spells a text with letters that browsers take for digits and dots.
func fullWidth(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '.' {
			return '。'
		}
		return r - '0' + '０'
	}, text)
}

// answers are what names below trap.test resolve to. A name that begins with rebind has the
// first address until a page was served there, and the second one from then on.
var answers = map[string][]string{
	"loop4": {"127.0.0.1"}, "loop6": {"::1"}, "private10": {"10.0.0.1"}, "private172": {"172.16.0.1"}, "private192": {"192.168.0.1"},
	"link4": {"169.254.169.254"}, "link6": {"fe80::1"}, "carrier": {"100.64.0.1"}, "zero": {"0.0.0.0"}, "zero6": {"::"}, "local6": {"fd00::1"},
	"mapped": {"::ffff:127.0.0.1"}, "compatible": {"::127.0.0.1"}, "nat64": {"64:ff9b::7f00:1"}, "local64": {"64:ff9b:1::7f00:1"},
	"6to4": {"2002:7f00:1::1"}, "many": {"127.0.0.1", "10.0.0.1", "::1"}, "multicast": {"224.0.0.1"}, "azure": {"168.63.129.16"},
	"first.dead": {deadAddr, "127.0.0.1"}, "then.dead": {"127.0.0.1", deadAddr}, "dead.six": {deadAddr, "::1"},
	"rebind": {publicAddr, "127.0.0.1"}, "rebind-link": {publicAddr, "169.254.169.254"}, "rebind-six": {publicAddr, "::1"}, "rebind-private": {publicAddr, "10.0.0.1"},
}

// names is a resolver of names below trap.test.
type names struct {
	mu     sync.Mutex // guards turned
	turned map[string]bool
}

// turn gives a host, of a name that begins with rebind, its other answer.
func (n *names) turn(host string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	name, _, _ := strings.Cut(host, ".")
	n.turned[name] = true
}

func (n *names) of(name string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case !strings.HasPrefix(name, "rebind") || answers[name] == nil:
		return answers[name]
	case n.turned[name]:
		return answers[name][1:]
	}
	return answers[name][:1]
}

// resolve makes the resolver of this process one that knows the answers.
func resolve(t *testing.T) *names {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", pc.LocalAddr().String())
	}}
	all := &names{turned: make(map[string]bool)}
	var running sync.WaitGroup
	running.Go(func() {
		packet := make([]byte, 512)
		for {
			n, from, err := pc.ReadFrom(packet)
			if err != nil {
				return
			}
			if said, err := all.answer(packet[:n]); err == nil {
				_, _ = pc.WriteTo(said, from)
			}
		}
	})
	t.Cleanup(func() {
		net.DefaultResolver = before
		pc.Close()
		running.Wait()
	})
	return all
}

// answer answers a question.
func (n *names) answer(packet []byte) ([]byte, error) {
	var p dnsmessage.Parser
	head, err := p.Start(packet)
	if err != nil {
		return nil, err
	}
	q, err := p.Question()
	if err != nil {
		return nil, err
	}
	head.Response = true
	addrs := n.of(strings.TrimSuffix(strings.ToLower(q.Name.String()), ".trap.test."))
	if addrs == nil {
		head.RCode = dnsmessage.RCodeNameError
	}
	b := dnsmessage.NewBuilder(nil, head)
	_ = b.StartQuestions()
	_ = b.Question(q)
	_ = b.StartAnswers()
	rr := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class}
	for _, text := range addrs {
		switch a := netip.MustParseAddr(text); {
		case a.Is4() && q.Type == dnsmessage.TypeA:
			_ = b.AResource(rr, dnsmessage.AResource{A: a.As4()})
		case a.Is6() && q.Type == dnsmessage.TypeAAAA:
			_ = b.AAAAResource(rr, dnsmessage.AAAAResource{AAAA: a.As16()})
		}
	}
	return b.Finish()
}

package jobs

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Bounds of lists of hosts. Those of a key travel with each of its jobs, and stand in lists of keys.
const (
	MaxHosts     = 1000
	maxHostBytes = 253 // of one pattern: what a name may have

	maxKeyHosts     = 50  // of both lists of a key together
	maxKeyHostBytes = 512 // of all patterns in them
)

// Hosts says which hosts the actions of a job may reach, beside the rule that addresses
// must be public. The zero value names none and lets all pass. A pattern is a name, a name
// after "*." for all names below it (and not that one itself), or an IP address.
type Hosts struct {
	Allow []string `json:"allow,omitempty"` // if there are any: these and no others
	Deny  []string `json:"deny,omitempty"`  // these not, even if they are allowed
}

// Empty reports whether h lets all hosts pass.
func (h Hosts) Empty() bool { return len(h.Allow) == 0 && len(h.Deny) == 0 }

// Permits reports whether a host may be reached, which is a name or an address as it
// stands in a URL, an IPv6 address with or without its brackets.
func (h Hosts) Permits(host string) bool {
	host = plainHost(host)
	matches := func(pattern string) bool { return matchesHost(pattern, host) }
	return (len(h.Allow) == 0 || slices.ContainsFunc(h.Allow, matches)) && !slices.ContainsFunc(h.Deny, matches)
}

func matchesHost(pattern, host string) bool {
	if below, ok := strings.CutPrefix(pattern, "*"); ok { // it begins with a dot
		return len(host) > len(below) && strings.HasSuffix(host, below)
	}
	return pattern == host
}

// plainHost is a host in the one spelling that patterns have.
func plainHost(host string) string {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if addr, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return addr.Unmap().String()
	}
	return host
}

// ParseHosts returns the patterns of a list in the spelling that Permits compares, or what
// is wrong with the first one that is none. Names beyond ASCII must be in Punycode.
func ParseHosts(list []string) ([]string, error) {
	if len(list) > MaxHosts {
		return nil, fmt.Errorf("must have at most %d hosts", MaxHosts)
	}
	var out []string
	for _, text := range list {
		p := plainHost(strings.TrimSpace(text))
		if !validPattern(p) {
			return nil, fmt.Errorf("%q is no host: write a name as in example.com, *.example.com for all names below it, or an IP address", text)
		}
		out = append(out, p)
	}
	return out, nil
}

// KeyHosts returns the lists of a key, or *InvalidError with /allowHosts or /denyHosts.
func KeyHosts(allow, deny []string) (h Hosts, err error) {
	var f faults
	for _, list := range []struct {
		at   string
		from []string
		to   *[]string
	}{{"/allowHosts", allow, &h.Allow}, {"/denyHosts", deny, &h.Deny}} {
		if *list.to, err = ParseHosts(list.from); err != nil {
			f.add(list.at, err.Error())
		}
	}
	if len(f.list) == 0 && !few(slices.Concat(h.Allow, h.Deny)) {
		f.addf("/allowHosts", "must have, with denyHosts, at most %d hosts of %d bytes together", maxKeyHosts, maxKeyHostBytes)
	}
	return h, f.err()
}

// few reports whether patterns are no more than travel with each job of a key.
func few(patterns []string) bool {
	bytes := 0
	for _, p := range patterns {
		bytes += len(p)
	}
	return len(patterns) <= maxKeyHosts && bytes <= maxKeyHostBytes
}

func validPattern(p string) bool {
	if _, err := netip.ParseAddr(p); err == nil {
		return true
	}
	name := strings.TrimPrefix(p, "*.")
	if name == "" || len(p) > maxHostBytes {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

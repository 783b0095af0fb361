package jobs

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// StateUse says which browser state a job begins with, and which it leaves behind.
type StateUse struct {
	Use     *string  `json:"use"`     // begin with this one
	Save    *string  `json:"save"`    // keep it as this one, if the job completes
	Origins []string `json:"origins"` // of these alone; null: with all that it has, and of those that the pages were at
}

// bytes is how many bytes u has as JSON, or slightly more.
func (u *StateUse) bytes() int {
	if u == nil {
		return 0
	}
	n := stateShell + len(u.Origins)*len(`"",`)
	for _, origin := range u.Origins {
		n += len(origin)
	}
	for _, name := range []*string{u.Use, u.Save} {
		if name != nil {
			n += len(*name)
		}
	}
	return n
}

// OriginOf returns the origin of a URL as browsers write it, https://shop.test:8443; false
// if it has none.
func OriginOf(text string) (string, bool) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", false
	}
	host := strings.ToLower(u.Hostname())
	if addr, err := netip.ParseAddr(host); err == nil && addr.Is6() {
		host = "[" + ipv6(addr) + "]"
	}
	if port := u.Port(); port != "" && port != map[string]string{"http": "80", "https": "443"}[u.Scheme] {
		host += ":" + port
	}
	return u.Scheme + "://" + host, true
}

// ipv6 is an address as browsers write it: without a part in decimals.
func ipv6(a netip.Addr) string {
	if !a.Is4In6() {
		return a.String()
	}
	b := a.As16()
	return fmt.Sprintf("::ffff:%x:%x", int(b[12])<<8|int(b[13]), int(b[14])<<8|int(b[15]))
}

// parseOrigin reads an origin, which a path and the like would be no part of. It takes no
// host that browsers do not take, or call something else.
func parseOrigin(text string) (origin, wrong string) {
	const example = "must be an origin, as in https://shop.example.com"
	if strings.ContainsFunc(text, func(r rune) bool { return r > unicode.MaxASCII }) {
		return "", "must be an origin, in ASCII: names of other characters are written in Punycode, as in https://xn--mnchen-3ya.example"
	}
	origin, ok := OriginOf(text)
	u, err := url.Parse(text)
	if !ok || err != nil || u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(u.Host, ":") {
		return "", example
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if u.Port() != "" && (err != nil || port == 0 || strconv.FormatUint(port, 10) != u.Port()) {
		return "", "must have a port of 1 to 65535, or none"
	}
	if !nameOrAddress(strings.ToLower(u.Hostname())) {
		return "", "must have the name of a host, or an IP address as in 192.0.2.1 and [2001:db8::1]"
	}
	return origin, ""
}

// nameOrAddress reports whether a host is one, and is not another one to a browser, which
// takes a last label that is a number for an address.
func nameOrAddress(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Zone() == ""
	}
	host = strings.TrimSuffix(host, ".")
	last := host[strings.LastIndexByte(host, '.')+1:]
	digits, hex := strings.CutPrefix(last, "0x")
	number := strings.Trim(last, "0123456789") == "" || hex && strings.Trim(digits, "0123456789abcdef") == ""
	return !number && !strings.Contains(host, "*") && validPattern(host)
}

// state reads which browser state a job is to have.
func (f *faults) state(s *Spec, in *StateUse) {
	if in == nil {
		return
	}
	before := len(f.list)
	for _, of := range []struct {
		at   string
		name *string
	}{{"/state/use", in.Use}, {"/state/save", in.Save}} {
		if of.name != nil && !ValidSealedName(*of.name) {
			f.addf(of.at, "must be 1 to %d characters of A-Z, a-z, 0-9, dot, underscore and hyphen", MaxSealedName)
		}
	}
	if in.Use == nil && in.Save == nil && !f.has("/state") {
		f.add("/state", "must have use or save")
	}
	var origins []string
	bytes := 0
	for i, text := range in.Origins[:min(len(in.Origins), MaxOrigins)] {
		origin, wrong := parseOrigin(text)
		if wrong != "" {
			f.add(fmt.Sprintf("/state/origins/%d", i), wrong)
		} else if !slices.Contains(origins, origin) {
			origins = append(origins, origin)
			bytes += len(origin)
		}
	}
	if in.Origins != nil && (len(in.Origins) == 0 || len(in.Origins) > MaxOrigins || bytes > maxOriginBytes) {
		f.addf("/state/origins", "must have 1 to %d origins of %d bytes together", MaxOrigins, maxOriginBytes)
	}
	switch {
	case len(f.list) > before:
	case !s.Browser && before == 0: // else what is wrong may be why there is none
		f.add("/state", "only a job with steps in a browser has a state")
	default:
		s.State = &StateUse{Use: in.Use, Save: in.Save, Origins: origins}
	}
}

// stateGranted refuses a state that is to be used and is not there, or to be saved and would
// be one too many. One that a job uses and saves may come with its first run. known are the
// names of the client's states.
func (f *faults) stateGranted(at string, u *StateUse, known map[string]bool) {
	if u.Use != nil && !u.again() && !known[*u.Use] {
		f.addf(at+"/use", "there is no browser state %q", *u.Use)
	}
	if n := int64(len(known)); u.Save != nil && n >= MaxStates && !known[*u.Save] {
		f.add(at+"/save", (&LimitError{What: LimitStates, Max: MaxStates, Used: n, Asked: 1}).Error())
	}
}

// again reports whether a job uses the state that it saves.
func (u *StateUse) again() bool { return u.Use != nil && u.Save != nil && *u.Use == *u.Save }

// BrowserState is what an action has to do with browser states.
type BrowserState struct {
	Origins []string // that it is about; nil: all that it has, or those that the pages were at

	// Load returns the state to begin with; nil: none.
	Load func(ctx context.Context) ([]byte, error)
	// Keep takes the state to leave behind, of some origins: it is kept if the job
	// completes. Nil: nobody wants it.
	Keep func(origins []string, state []byte) error
}

// browserState returns what the job has to do with browser states; nil: nothing.
func (a *attempt) browserState() *BrowserState {
	u := a.l.Job.State
	if u == nil {
		return nil
	}
	b := &BrowserState{Origins: u.Origins, Load: a.loadState}
	if u.Save != nil {
		b.Keep = a.keepState
	}
	return b
}

func (a *attempt) loadState(ctx context.Context) ([]byte, error) {
	v := a.p.svc.vault
	switch {
	case v == nil:
		return nil, &ActionError{Class: ClassState, Message: NoVault}
	case a.l.Job.State.Use == nil:
		return nil, nil
	}
	raw, err := v.State(ctx, a.l.Lease.Client, *a.l.Job.State.Use)
	if errors.Is(err, ErrNotSealed) {
		if a.l.Job.State.again() {
			return nil, nil
		}
		return nil, &ActionError{Class: ClassState, Message: fmt.Sprintf("there is no browser state %q any more", *a.l.Job.State.Use)}
	}
	return raw, unreadable(ctx, "the browser state", err)
}

func (a *attempt) keepState(origins []string, state []byte) error {
	v := a.p.svc.vault
	if v == nil {
		return &ActionError{Class: ClassState, Message: NoVault}
	}
	sealed := v.SealState(a.l.Lease.Client, *a.l.Job.State.Save, origins, state)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sealed = &sealed
	return nil
}

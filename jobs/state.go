package jobs

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
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
	host := strings.ToLower(u.Host)
	if port := map[string]string{"http": ":80", "https": ":443"}[u.Scheme]; u.Port() != "" {
		host = strings.TrimSuffix(host, port)
	}
	return u.Scheme + "://" + host, true
}

// parseOrigin reads an origin, which a path and the like would be no part of.
func parseOrigin(text string) (string, bool) {
	origin, ok := OriginOf(text)
	u, err := url.Parse(text)
	plain := func(r rune) bool { return r > ' ' && r < 0x7f && r != '"' && r != '\\' && r != '%' }
	return origin, ok && err == nil && u.User == nil && (u.Path == "" || u.Path == "/") && u.RawQuery == "" && !u.ForceQuery &&
		u.Fragment == "" && u.Hostname() != "" && strings.TrimFunc(origin, plain) == "" && !strings.HasSuffix(origin, ":")
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
		origin, ok := parseOrigin(text)
		if !ok {
			f.addf(fmt.Sprintf("/state/origins/%d", i), "must be an origin, as in https://shop.example.com")
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

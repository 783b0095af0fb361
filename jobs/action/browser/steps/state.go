package steps

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/storage"

	"github.com/jobcast/jobcast/jobs"
)

// stateTime bounds the reading and the restoring of a state.
const stateTime = 30 * time.Second

// state is what a browser state holds.
type state struct {
	Origins []string       `json:"origins"` // that it is of
	Cookies []stateCookie  `json:"cookies"`
	Storage []localStorage `json:"storage"`

	size int // bytes of Storage, about
}

// stateCookie is a cookie of a state.
type stateCookie struct {
	Name         string                      `json:"name"`
	Value        string                      `json:"value"`
	Domain       string                      `json:"domain"` // with a dot before it: also of the names below it
	Path         string                      `json:"path"`
	Expires      float64                     `json:"expires,omitempty"` // 0: with the session
	HTTPOnly     bool                        `json:"httpOnly,omitempty"`
	Secure       bool                        `json:"secure,omitempty"`
	SameSite     network.CookieSameSite      `json:"sameSite,omitempty"`
	PartitionKey *network.CookiePartitionKey `json:"partitionKey,omitempty"`
}

// localStorage is the local storage of an origin.
type localStorage struct {
	Origin string      `json:"origin"`
	Items  [][2]string `json:"items"`
}

// of reports whether a document of one of these origins would be sent the cookie.
func (c stateCookie) of(origins []string) bool {
	domain, below := strings.CutPrefix(strings.Trim(c.Domain, "[]"), ".")
	return slices.ContainsFunc(origins, func(origin string) bool {
		u, err := url.Parse(origin)
		if err != nil || c.Secure && u.Scheme != "https" && u.Hostname() != "localhost" {
			return false
		}
		host := u.Hostname()
		return host == domain || below && strings.HasSuffix(host, "."+domain)
	})
}

// visit notes that a page has come to a URL, or that the session has begun with the state
// of an origin.
func (s *Session) visit(at string) {
	origin, ok := jobs.OriginOf(at)
	s.mu.Lock()
	defer s.mu.Unlock()
	if ok && len(s.visited) < jobs.MaxOrigins && !slices.Contains(s.visited, origin) {
		s.visited = append(s.visited, origin)
	}
}

// State returns what the browser holds of origins, as Restore takes it: their cookies and
// local storage. Without origins it is of those of a state that was restored, and of those that
// the pages of steps were at, at most jobs.MaxOrigins. of are the origins.
func (s *Session) State(ctx context.Context, origins []string) (raw []byte, of []string, err error) {
	if of = origins; of == nil {
		s.mu.Lock()
		of = slices.Clone(s.visited)
		s.mu.Unlock()
	}
	limited, cancel := context.WithTimeoutCause(ctx, stateTime, errLimit)
	defer cancel()
	held, err := s.state(limited, of)
	held.Origins = of
	if err == nil {
		raw, err = json.Marshal(held)
	}
	switch {
	case err == nil && len(raw) > jobs.MaxStateBytes:
		err = stateTooLarge()
	case ctx.Err() == nil && limited.Err() != nil:
		err = timeout("Reading the browser state failed: %dms exceeded", stateTime.Milliseconds())
	}
	if err != nil {
		return nil, nil, s.stateError(ctx, err)
	}
	return raw, of, nil
}

func stateTooLarge() error {
	return &jobs.ActionError{Class: jobs.ClassState, Message: fmt.Sprintf(
		"the browser state is larger than %d bytes: name the origins that it is to be of", jobs.MaxStateBytes)}
}

// stateError gives an error the words that a client reads.
func (s *Session) stateError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return s.discreet(actionError(err, Step{}))
}

func (s *Session) state(ctx context.Context, origins []string) (held state, err error) {
	all, err := cdp.Call(ctx, s.browser, storage.GetCookies, storage.GetCookiesParams{BrowserContextID: s.context})
	if err != nil {
		return held, fmt.Errorf("read cookies: %w", err)
	}
	for _, c := range all.Cookies {
		one := stateCookie{
			Name: c.Name, Value: c.Value, Domain: c.Domain, Path: c.Path, HTTPOnly: c.HTTPOnly, Secure: c.Secure,
			SameSite: c.SameSite, PartitionKey: c.PartitionKey,
		}
		if !c.Session {
			one.Expires = c.Expires
		}
		if !c.PartitionKeyOpaque && one.of(origins) {
			held.Cookies = append(held.Cookies, one)
		}
	}
	var elsewhere []string
	for _, origin := range origins {
		if found, err := s.storageHere(ctx, origin); err != nil {
			return held, err
		} else if !found.read {
			elsewhere = append(elsewhere, origin)
		} else if err := held.add(origin, found.items); err != nil {
			return held, err
		}
	}
	err = s.inBlank(ctx, elsewhere, func(p cdp.Session, origin string) (bool, error) {
		found, err := readStorage(ctx, p, 0, origin)
		if err == nil {
			err = held.add(origin, found.items)
		}
		return found.read, err
	})
	return held, err
}

// add adds the local storage of an origin, unless all of it is too large then.
func (held *state) add(origin string, items [][2]string) error {
	for _, item := range items {
		held.size += len(item[0]) + len(item[1])
	}
	if held.size > jobs.MaxStateBytes {
		return stateTooLarge()
	}
	if len(items) > 0 {
		held.Storage = append(held.Storage, localStorage{origin, items})
	}
	return nil
}

// readItems is a script that returns the local storage of an origin: null elsewhere, and
// nothing but that it is too large if it is.
const readItems = `(() => {
	if (origin !== %q) return null;
	const items = [];
	for (let i = 0, size = 0; i < localStorage.length; i++) {
		const name = localStorage.key(i), value = localStorage.getItem(name);
		if ((size += name.length + value.length) > %d) return {large: true};
		items.push([name, value]);
	}
	return {items};
})()`

// storedItems is what a document says of its local storage.
type storedItems struct {
	read  bool // it is of the origin
	items [][2]string
}

func readStorage(ctx context.Context, p cdp.Session, world runtime.ExecutionContextID, origin string) (found storedItems, err error) {
	raw, err := evaluateIn(ctx, p, world, fmt.Sprintf(readItems, origin, jobs.MaxStateBytes))
	var said *struct {
		Large bool        `json:"large"`
		Items [][2]string `json:"items"`
	}
	if err == nil {
		err = json.Unmarshal(raw, &said)
	}
	switch {
	case err != nil || said == nil:
		return found, err
	case said.Large:
		return found, stateTooLarge()
	}
	return storedItems{true, said.Items}, nil
}

// storageHere reads the local storage of an origin where a page is at it: others learn a
// little later of what such a page has just stored. A page that does not say is passed over.
func (s *Session) storageHere(ctx context.Context, origin string) (found storedItems, err error) {
	for _, p := range s.pages() {
		if at, _ := jobs.OriginOf(p.now().url); at != origin || p.inner {
			continue
		}
		short, cancel := context.WithTimeout(ctx, hungAfter)
		f := &frame{tab: p, id: cdp.FrameID(p.target.TargetID)}
		if err = f.enter(short); err == nil {
			found, err = readStorage(short, p.target, f.world, origin)
		}
		cancel()
		if found.read || isActionError(err) {
			return found, err
		}
	}
	return storedItems{}, nil
}

// Restore puts a state into the browser context, before the first step: what State has
// returned, of these origins alone if there are any.
func (s *Session) Restore(ctx context.Context, raw []byte, origins []string) error {
	var held state
	if err := json.Unmarshal(raw, &held); err != nil {
		return fmt.Errorf("decode state: %w", err)
	}
	limited, cancel := context.WithTimeoutCause(ctx, stateTime, errLimit)
	defer cancel()
	err := s.restore(limited, held, origins)
	if ctx.Err() == nil && limited.Err() != nil {
		err = timeout("Restoring the browser state failed: %dms exceeded", stateTime.Milliseconds())
	}
	if err != nil {
		return s.stateError(ctx, err)
	}
	return nil
}

func (s *Session) restore(ctx context.Context, held state, origins []string) error {
	for _, origin := range held.Origins {
		s.visit(origin)
	}
	var cookies []*network.CookieParam
	now := float64(time.Now().Unix())
	for _, c := range held.Cookies {
		if (origins == nil || c.of(origins)) && (c.Expires == 0 || c.Expires > now) {
			cookies = append(cookies, c.param())
		}
	}
	if len(cookies) > 0 {
		_, err := cdp.Call(ctx, s.browser, storage.SetCookies, storage.SetCookiesParams{Cookies: cookies, BrowserContextID: s.context})
		if err != nil {
			return fmt.Errorf("set cookies: %w", err)
		}
	}
	items, wanted := make(map[string][][2]string), []string(nil)
	for _, one := range held.Storage {
		if origins == nil || slices.Contains(origins, one.Origin) {
			items[one.Origin] = one.Items
			wanted = append(wanted, one.Origin)
		}
	}
	return s.inBlank(ctx, wanted, func(p cdp.Session, origin string) (bool, error) {
		list, err := json.Marshal(items[origin])
		if err != nil {
			return false, fmt.Errorf("encode items: %w", err)
		}
		raw, err := evaluateIn(ctx, p, 0, fmt.Sprintf(`(() => {
			if (origin !== %q) return false;
			for (const [name, value] of %s) localStorage.setItem(name, value);
			return true;
		})()`, origin, list))
		return string(raw) == "true", err
	})
}

// param is the cookie as the browser takes it. One of a single host is told by a URL.
func (c stateCookie) param() *network.CookieParam {
	p := &network.CookieParam{
		Name: c.Name, Value: c.Value, Path: c.Path, HTTPOnly: c.HTTPOnly, Secure: c.Secure, SameSite: c.SameSite,
		Expires: cdp.TimeSinceEpoch(c.Expires), PartitionKey: c.PartitionKey,
	}
	if strings.HasPrefix(c.Domain, ".") {
		p.Domain = c.Domain
		return p
	}
	u := url.URL{Scheme: "http", Host: c.Domain, Path: "/"}
	if c.Secure {
		u.Scheme = "https"
	}
	p.URL = u.String()
	return p
}

package steps

import (
	"context"
	"net/url"
	"strings"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/cdproto/network"
	"golang.org/x/net/idna"
)

// login is a user's name and password for pages of one origin.
type login struct {
	origin, user, password string
	tried                  map[fetch.RequestID]bool // requests that had them, and were refused
}

// withoutLogin returns a URL without the name and password that it may have, and those. A
// page whose own URL has them could not fetch anything, and would tell them.
func withoutLogin(text string) (string, *login) {
	if !strings.Contains(text, "@") {
		return text, nil
	}
	u, err := url.Parse(text)
	if err != nil || u.User == nil {
		return text, nil
	}
	l := &login{origin: originOf(u), user: u.User.Username(), tried: make(map[fetch.RequestID]bool)}
	l.password, _ = u.User.Password()
	u.User = nil
	return u.String(), l
}

// discreetURL is a page's URL without a name and password.
func discreetURL(text string) string {
	bare, _ := withoutLogin(text)
	return bare
}

// originOf is a URL's origin as browsers spell it.
func originOf(u *url.URL) string {
	host := strings.ToLower(u.Host)
	if name, err := idna.Lookup.ToASCII(u.Hostname()); err == nil {
		host = strings.Replace(host, strings.ToLower(u.Hostname()), name, 1)
	}
	scheme := strings.ToLower(u.Scheme)
	return scheme + "://" + strings.TrimSuffix(host, map[string]string{"http": ":80", "https": ":443"}[scheme])
}

// logIn has the page's documents of an origin get a name and password if they ask for them.
// Once they have, the browser knows them, for the rest of the origin too.
func (r *run) logIn(l *login) (stop func(), err error) {
	r.page.logs(l)
	all := &fetch.RequestPattern{URLPattern: "*", ResourceType: network.ResourceTypeDocument}
	yes := true
	_, err = call(r, fetch.Enable, fetch.EnableParams{Patterns: []*fetch.RequestPattern{all}, HandleAuthRequests: &yes})
	return func() {
		r.page.logs(nil)
		_, _ = call(r, fetch.Disable, cdp.Empty{}) // if it fails, requests go on to pass through asked
	}, err
}

// logs sets what the page's documents get that ask for a name and password; nil: nothing.
func (p *tab) logs(in *login) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.login = in
}

// asked lets requests pass that wait because of logIn, and answers those that ask.
func (p *tab) asked(ctx context.Context, ev any) {
	switch ev := ev.(type) {
	case *fetch.EventRequestPaused:
		p.later(ctx, func(ctx context.Context) error {
			_, err := cdp.Call(ctx, p.target, fetch.ContinueRequest, fetch.ContinueRequestParams{RequestID: ev.RequestID})
			return err
		})
	case *fetch.EventAuthRequired:
		response := p.answer(ev)
		p.later(ctx, func(ctx context.Context) error {
			_, err := cdp.Call(ctx, p.target, fetch.ContinueWithAuth, fetch.ContinueWithAuthParams{RequestID: ev.RequestID, AuthChallengeResponse: response})
			return err
		})
	}
}

// answer gives a name and password to the origin that they are for, once.
func (p *tab) answer(ev *fetch.EventAuthRequired) *fetch.AuthChallengeResponse {
	p.mu.Lock()
	defer p.mu.Unlock()
	u, err := url.Parse(ev.Request.URL)
	c := ev.AuthChallenge
	if p.login == nil || p.login.tried[ev.RequestID] || c.Source == fetch.AuthChallengeSourceProxy || err != nil || originOf(u) != p.login.origin {
		return &fetch.AuthChallengeResponse{Response: fetch.AuthChallengeResponseResponseCancelAuth}
	}
	p.login.tried[ev.RequestID] = true
	return &fetch.AuthChallengeResponse{Response: fetch.AuthChallengeResponseResponseProvideCredentials, Username: p.login.user, Password: p.login.password}
}

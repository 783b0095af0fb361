package steps

import (
	"errors"
	"fmt"
	"strings"

	"github.com/chromedp/cdproto"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/storage"
	"golang.org/x/net/http/httpguts"

	"github.com/jobcast/jobcast/jobs"
)

// maxCookie is how many bytes a browser takes of a cookie's name and value together.
const maxCookie = 4096

// setViewport sets the size of the page's window.
func (r *run) setViewport() error {
	p := emulation.SetDeviceMetricsOverrideParams{
		Width: int64(r.Width), Height: int64(r.Height), DeviceScaleFactor: r.DeviceScaleFactor, Mobile: r.IsMobile,
		ScreenOrientation: &emulation.ScreenOrientation{Type: emulation.ScreenOrientationTypePortraitPrimary},
	}
	if p.DeviceScaleFactor == 0 {
		p.DeviceScaleFactor = 1
	}
	if r.IsLandscape {
		p.ScreenOrientation = &emulation.ScreenOrientation{Type: emulation.ScreenOrientationTypeLandscapePrimary, Angle: 90}
	}
	if _, err := call(r, emulation.SetDeviceMetricsOverride, p); err != nil {
		return err
	}
	_, err := call(r, emulation.SetTouchEmulationEnabled, emulation.SetTouchEmulationEnabledParams{Enabled: r.HasTouch})
	return err
}

// emulateNetwork slows the page's network down.
func (r *run) emulateNetwork() error {
	_, err := call(r, network.EmulateNetworkConditionsByRule, network.EmulateNetworkConditionsByRuleParams{
		MatchedNetworkConditions: []*network.Conditions{
			{Latency: r.Latency, DownloadThroughput: r.Download, UploadThroughput: r.Upload},
		},
	})
	return err
}

// setCookies sets cookies of the browser context.
func (r *run) setCookies() error {
	list := make([]*network.CookieParam, len(r.Cookies))
	for i, c := range r.Cookies {
		s, err := r.reveal(c.Value)
		if err == nil {
			err = c.permits(s)
		}
		if err == nil && !validCookieValue(s.Value) { // of a secret that was kept before there were such rules
			err = &jobs.ActionError{Class: ClassValue, Message: fmt.Sprintf("the cookie %q cannot have this value", c.Name)}
		}
		if err != nil {
			return err
		}
		list[i] = &network.CookieParam{
			Name: c.Name, Value: s.Value, URL: c.URL, Domain: c.Domain, Path: c.Path,
			Secure: c.Secure, HTTPOnly: c.HTTPOnly, SameSite: network.CookieSameSite(c.SameSite), Expires: cdp.TimeSinceEpoch(c.Expires),
		}
	}
	_, err := cdp.Call(r.ctx, r.browser, storage.SetCookies, storage.SetCookiesParams{Cookies: list, BrowserContextID: r.context})
	if refused := new(cdproto.Error); errors.As(err, &refused) {
		return &jobs.ActionError{Class: ClassValue, Message: "the browser does not take these cookies (" + refused.Message + ")", Err: err}
	}
	return err
}

// validCookieValue reports whether a browser takes a cookie's value as it is: it ends at a
// semicolon, and has no control characters and no white space around it.
func validCookieValue(value string) bool {
	return len(value) <= maxCookie && strings.Trim(value, " \t") == value &&
		!strings.ContainsFunc(value, func(c rune) bool { return c == ';' || c < ' ' || c == 0x7f })
}

// validCookieName reports the same of its name, which ends at an equals sign too.
func validCookieName(name string) bool { return validCookieValue(name) && !strings.Contains(name, "=") }

// setHeaders adds headers to every request of all pages, also of those to come.
func (r *run) setHeaders() error {
	headers := make(network.Headers, len(r.Headers))
	for name, v := range r.Headers {
		s, err := r.reveal(v)
		switch {
		case err != nil:
			return err
		case len(s.Hosts) > 0: // nobody knows where pages ask for something
			return strayed(v, "any host, as headers are")
		case !httpguts.ValidHeaderFieldValue(s.Value):
			return &jobs.ActionError{Class: ClassValue, Message: fmt.Sprintf("the header %s cannot have this value", name)}
		}
		headers[name] = s.Value
	}
	r.mu.Lock()
	r.headers = headers
	r.mu.Unlock()
	for _, p := range r.pages() {
		if _, err := cdp.Call(r.ctx, p.target, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: headers}); err != nil {
			return err
		}
	}
	return nil
}

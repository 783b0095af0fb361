package steps

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/jobcast/jobcast/jobs"
)

// value is a text of a step, or the name of the secret that it is.
type value struct{ text, secret string }

// UnmarshalJSON reads what orSecret describes.
func (v *value) UnmarshalJSON(raw []byte) error {
	if json.Unmarshal(raw, &v.text) == nil {
		return nil
	}
	var named struct {
		Secret string `json:"secret"`
	}
	err := json.Unmarshal(raw, &named)
	v.secret = named.Secret
	return err
}

// Secrets returns where the step names secrets, with pointers relative to it.
func (s Step) Secrets() (uses []jobs.SecretUse) {
	within := ""
	if s.ofCustom {
		within = "/parameters"
	}
	add := func(at string, v value) {
		if v.secret != "" {
			uses = append(uses, jobs.SecretUse{Pointer: within + at + "/secret", Name: v.secret})
		}
	}
	if s.kind == "change" {
		v, _ := s.written()
		add("/value", v)
	}
	add("/text", s.Text)
	for i, c := range s.Cookies {
		add("/cookies/"+strconv.Itoa(i)+"/value", c.Value)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Headers)) {
		add(jobs.PointerTo("/headers", name), s.Headers[name])
	}
	return uses
}

// written is what change is to write: a truth as its word.
func (s Step) written() (v value, err error) {
	if text := string(s.Value); text == "true" || text == "false" {
		return value{text: text}, nil
	}
	err = json.Unmarshal(s.Value, &v)
	return v, err
}

// reveal returns a text of the step. A secret is taken out of all that leaves the session
// from now on.
func (r *run) reveal(v value) (jobs.Secret, error) {
	if v.secret == "" {
		return jobs.Secret{Value: v.text}, nil
	}
	if r.env.Secret == nil {
		return jobs.Secret{}, fmt.Errorf("reveal %q: there are no secrets", v.secret)
	}
	s, err := r.env.Secret(r.ctx, v.secret)
	if err == nil {
		r.secrets.Add(s.Value)
	}
	return s, err
}

// strayed is the failure of a secret that is not meant for where it was to go.
func strayed(v value, where string) error {
	return &jobs.ActionError{Class: jobs.ClassSecret, Message: fmt.Sprintf("the secret %q is not meant for %s", v.secret, where)}
}

// confide puts a secret into an element, in the place of what it holds or after it. The
// element must be one that can hide it, in a page that may have it, as must the documents
// around an iframe: they make what is in it. It goes in at once, since what a page logs of each
// key would be the secret's beginning, which no redactor knows; and nowhere else, see page.js.
func (r *run) confide(e found, v value, all bool) error {
	var kind string
	if err := r.on(e, "kind", &kind); err != nil {
		return err
	}
	if kind != "text" {
		return &jobs.ActionError{Class: ClassValue, Message: fmt.Sprintf("%q takes no secret: only a field for text does", r.alternatives[e.index])}
	}
	s, err := r.reveal(v)
	if err != nil {
		return err
	}
	for f := e.frame; f != nil; f = f.parent {
		var host string
		if err := r.invoke(f, "host", &host); err != nil {
			return fmt.Errorf("host: %w", err)
		}
		if !s.For(host) {
			if host == "" {
				host = "a page without a host"
			}
			return strayed(v, host)
		}
	}
	if _, err := r.begin(e, all); err != nil {
		return err
	}
	r.acted = true
	var took bool
	if err := r.on(e, "put", &took, s.Value, all); err != nil {
		return err
	}
	if !took {
		return r.unfit(e)
	}
	if all {
		return r.end(e)
	}
	return nil
}

// permits refuses a secret that is not meant for a host that the cookie goes to.
func (c cookie) permits(s jobs.Secret) error {
	host := strings.TrimPrefix(c.Domain, ".")
	if u, err := url.Parse(c.URL); err == nil && c.URL != "" {
		host = u.Hostname()
	}
	if !s.For(host) {
		return strayed(c.Value, host)
	}
	if _, err := netip.ParseAddr(host); c.Domain != "" && err != nil && !s.For("any."+host) {
		return strayed(c.Value, "the hosts below "+host+", where a cookie with a domain goes too")
	}
	return nil
}

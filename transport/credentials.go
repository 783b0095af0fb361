package transport

import (
	"bytes"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// maxSecretBytes is the longest key or token that is looked at; hashing and
// comparing a longer one would be work for nothing. Signed tokens fit well.
const maxSecretBytes = 4096

// Credential returns a copy of the key or token of a request, or "" if there is
// none. It looks at `Authorization: Bearer`, `X-API-Key`, `?apiKey=` and
// `?token=`; empty values of the last three count as absent, and a `Bearer ` before
// them does not matter.
//
// The same secret in several places is one; two different ones are refused with
// ambiguous_credentials, because whichever was chosen could be the wrong one. A
// Bearer credential that is empty, longer than 4096 bytes or not visible ASCII
// is malformed. Authorization of another scheme is not for us and is ignored.
func Credential(c *fiber.Ctx) (string, error) {
	var found string
	for _, raw := range credentials(c) {
		switch {
		case raw.err != nil:
			return "", raw.err
		case raw.secret == "" || raw.secret == found:
		case found != "":
			return "", Refuse(AmbiguousCredentials, "The request carries two different credentials.")
		case len(raw.secret) > maxSecretBytes || !visibleASCII(raw.secret):
			return "", Refuse(Malformed, "The credential is not 1 to 4096 visible ASCII characters.")
		default:
			found = raw.secret
		}
	}
	return found, nil
}

// FirstCredential returns a copy of the first key or token of a request, or "" if there
// is none: `?apiKey=`, then `Authorization: Bearer`, then `X-API-Key`. The others may be
// anything.
func FirstCredential(c *fiber.Ctx) string {
	if secret := Secret(strings.Clone(c.Query("apiKey"))); secret != "" {
		return secret
	}
	if secret, err := parseBearer(c.Request().Header.Peek(fiber.HeaderAuthorization)); err == nil && secret != "" {
		return secret
	}
	return Secret(strings.Clone(c.Get("X-API-Key")))
}

type credential struct {
	secret string
	err    error
}

// credentials lists what stands in each place, copied.
func credentials(c *fiber.Ctx) []credential {
	var all []credential
	for _, v := range c.Request().Header.PeekAll(fiber.HeaderAuthorization) {
		secret, err := parseBearer(v)
		all = append(all, credential{secret, err})
	}
	for _, v := range c.Request().Header.PeekAll("X-API-Key") {
		all = append(all, credential{secret: Secret(string(v))})
	}
	for _, name := range []string{"apiKey", "token"} {
		for _, v := range c.Context().QueryArgs().PeekMulti(name) {
			all = append(all, credential{secret: Secret(string(v))})
		}
	}
	return all
}

// Secret returns a key or token as it stands in a place of its own. Some clients put
// what they would put into Authorization there, so a `Bearer ` before it is dropped.
func Secret(value string) string {
	scheme, secret, ok := strings.Cut(strings.TrimLeft(value, " \t"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return value
	}
	return strings.TrimLeft(secret, " \t")
}

// parseBearer returns the credential of an Authorization header (RFC 6750 2.1;
// the scheme is case insensitive), or "" for another scheme.
func parseBearer(value []byte) (string, error) {
	scheme, rest, _ := bytes.Cut(bytes.Trim(value, " \t"), []byte(" "))
	if !bytes.EqualFold(scheme, []byte("Bearer")) {
		return "", nil
	}
	secret := string(bytes.TrimLeft(rest, " \t"))
	if secret == "" || !visibleASCII(secret) {
		return "", Refuse(Malformed, "The header Authorization is not `Bearer <key or token>`.")
	}
	return secret, nil
}

// visibleASCII reports whether s is only characters 0x21 to 0x7e.
func visibleASCII(s string) bool {
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

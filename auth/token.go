package auth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// A token's life.
const (
	MinTokenTTL     = time.Minute
	MaxTokenTTL     = 24 * time.Hour
	DefaultTokenTTL = time.Hour
)

const (
	// maxTokenBytes bounds what is parsed before anything is proved. A token of
	// ours has less than half of it.
	maxTokenBytes = 1 << 10
	// tokenStreams is how many live streams one token may have. They do not
	// count against its key: whoever got a token cannot lock the key out.
	tokenStreams = 5

	tokenIssuer = "jobcast"
	tokenIDSize = 15 // random bytes
	jobIDChars  = 36 // of a UUID
)

// Token is a token as it is handed out.
type Token struct {
	Text      string // jct_…
	ExpiresAt time.Time
	JobID     string // the only job that it shows; empty: all of its client
}

// SecretBytes is how many random bytes a signing secret has.
const SecretBytes = 32

// Secrets keep what a Signer signs with.
type Secrets interface {
	// SigningSecret returns SecretBytes random bytes, which are made when it is called
	// first. All who open the same data get the same ones, however often and at the
	// same time, as long as the data are there. The caller may change them.
	SigningSecret(ctx context.Context) ([]byte, error)
}

// Signer makes and checks tokens: JSON Web Tokens (RFC 7519) signed with
// HMAC-SHA256, and nothing else, whatever a token says of itself.
type Signer struct {
	secret []byte
	parser *jwt.Parser
}

// claims is what a token says.
type claims struct {
	jwt.RegisteredClaims        // iss, sub (the client), exp, iat, jti
	Key                  string `json:"key"`           // id of the key that made it
	Job                  string `json:"job,omitempty"` // the only job that it shows
}

// NewSigner returns a Signer with a secret of at least SecretBytes.
func NewSigner(secret []byte) (*Signer, error) {
	if len(secret) < SecretBytes {
		return nil, fmt.Errorf("a signing secret needs %d bytes and has %d", SecretBytes, len(secret))
	}
	return &Signer{secret: secret, parser: jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithExpirationRequired(),
		jwt.WithIssuer(tokenIssuer),
		jwt.WithStrictDecoding(),
	)}, nil
}

// MAC authenticates a text for one purpose: 32 bytes that only this secret can
// make. What was made for one purpose is worth nothing for another.
func (s *Signer) MAC(purpose, text string) []byte {
	h := hmac.New(sha256.New, s.secret)
	_, _ = h.Write([]byte(purpose + "\x00" + text)) // never fails
	return h.Sum(nil)
}

// IsToken reports whether a secret says of itself that it is a token.
func IsToken(secret string) bool { return strings.HasPrefix(secret, tokenPrefix) }

// Mint makes a token of p's client, which may only watch: one job, or, if job is
// empty, all. It ends after ttl, or with p's key if that comes first. The caller
// has checked that p may watch and owns the job, and that p is a key itself.
func (s *Signer) Mint(p Principal, job string, ttl time.Duration) (Token, error) {
	now := time.Now().UTC().Truncate(time.Second) // the precision of the claims
	end := now.Add(ttl)
	if p.ExpiresAt != nil && p.ExpiresAt.Before(end) {
		end = p.ExpiresAt.UTC().Truncate(time.Second)
	}
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: tokenIssuer, Subject: p.ClientID, ID: randomText(tokenIDSize),
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(end),
		},
		Key: p.KeyID, Job: job,
	}).SignedString(s.secret)
	if err != nil {
		return Token{}, fmt.Errorf("sign token: %w", err)
	}
	return Token{Text: tokenPrefix + text, ExpiresAt: end, JobID: job}, nil
}

// read returns whose token this is. Whether its key is still good is not
// looked at. The error is ErrUnauthenticated, without saying why.
func (s *Signer) read(secret string) (Principal, error) {
	text, ok := strings.CutPrefix(secret, tokenPrefix)
	if !ok || len(secret) > maxTokenBytes {
		return Principal{}, ErrUnauthenticated
	}
	var c claims
	_, err := s.parser.ParseWithClaims(text, &c, func(*jwt.Token) (any, error) { return s.secret, nil })
	if err != nil || !validClient(c.Subject) || c.Key == "" || c.ID == "" || (c.Job != "" && len(c.Job) != jobIDChars) {
		return Principal{}, ErrUnauthenticated
	}
	end := c.ExpiresAt.Time
	return Principal{
		Identity: Identity{ClientID: c.Subject, KeyID: c.Key, TokenID: c.ID, JobID: c.Job},
		Scopes:   []Scope{Watch}, MaxConnections: tokenStreams, ExpiresAt: &end,
	}, nil
}

// verifyToken is Verify for a token.
func (v *Verifier) verifyToken(ctx context.Context, secret string) (Principal, error) {
	if v.signer == nil {
		return Principal{}, ErrUnauthenticated
	}
	p, err := v.signer.read(secret)
	if err != nil {
		return Principal{}, err
	}
	if _, err := v.current(ctx, p); err != nil {
		return Principal{}, err
	}
	v.uses.add(p.KeyID, time.Now())
	return p, nil
}

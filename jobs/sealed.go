package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
)

// What a client may entrust to the server.
const (
	MaxSecrets     = 1000
	MaxJobSecrets  = 50      // that one job names: each is looked for in all that its pages tell
	MaxSecretBytes = 4 << 10 // what a header may have, and what is typed into a field
	minSecretBytes = 3       // a shorter one could not be taken out of a text and leave it of use
	MaxSealedName  = 64
)

// Bounds of browser states.
const (
	MaxStates     = 100     // of one client
	MaxStateBytes = 1 << 20 // of one, as JSON
	MaxOrigins    = 20      // that one is of

	maxOriginBytes = 1 << 10 // of all that a job names: they travel with it
)

// SealedKind is what something is that is sealed.
type SealedKind string

// The kinds.
const (
	SealedSecret SealedKind = "secret"
	SealedState  SealedKind = "state" // of a browser
)

// Max is how many of the kind a client may have, and by which name it is refused one more.
func (k SealedKind) Max() (int64, Limit) {
	if k == SealedState {
		return MaxStates, LimitStates
	}
	return MaxSecrets, LimitSecrets
}

// NoVault says why a server keeps neither.
const NoVault = "This server keeps no secrets and no browser states, because it was started without --secret-key-file."

// ErrNotSealed: the client has no secret or state of this name.
var ErrNotSealed = errors.New("nothing is kept under this name")

// Secret is a text of a client's that must not be told.
type Secret struct {
	Value string
	// Hosts are those that it is meant for, as patterns of Hosts; none: any.
	Hosts []string
}

// For reports whether the secret is meant for a host.
func (s Secret) For(host string) bool { return Hosts{Allow: s.Hosts}.Permits(host) }

// SecretUse is a place in a submit where a secret is named.
type SecretUse struct {
	Pointer string // RFC 6901
	Name    string
}

// Confider knows which secrets actions name. A Runner that is one tells all actions of a job
// in a browser what any of them names.
type Confider interface {
	// Secrets returns where a valid action names secrets, with pointers relative to it.
	Secrets(action json.RawMessage) []SecretUse
}

// Vault is where the secrets and the browser states of clients are.
type Vault interface {
	// Secret returns a client's secret; ErrNotSealed if there is none of this name.
	Secret(ctx context.Context, client, name string) (Secret, error)
	// Page lists at most limit of what a client has of a kind, by name, from the first one
	// after a name on.
	Page(ctx context.Context, kind SealedKind, client, after string, limit int) ([]Sealed, error)
	// State returns a client's browser state; ErrNotSealed if there is none of this name.
	State(ctx context.Context, client, name string) ([]byte, error)
	// SealState makes a state one that a Step keeps.
	SealState(client, name string, origins []string, state []byte) Sealed
}

// entrusted returns *InvalidError if submits name secrets or browser states that their
// client does not have. What goes later fails the job. prefix begins the pointers of each.
func (s *Service) entrusted(ctx context.Context, client string, prefix func(i int) string, specs ...Spec) error {
	var f faults
	known := make(map[SealedKind]map[string]bool)
	for i, spec := range specs {
		if spec.State != nil {
			names, err := s.sealedNames(ctx, SealedState, client, known)
			switch {
			case err != nil:
				return err
			case s.vault == nil:
				f.add(prefix(i)+"/state", NoVault)
			default:
				f.stateGranted(prefix(i)+"/state", spec.State, names)
			}
		}
		for _, u := range spec.Secrets {
			names, err := s.sealedNames(ctx, SealedSecret, client, known)
			switch {
			case err != nil:
				return err
			case s.vault == nil:
				f.add(prefix(i)+u.Pointer, NoVault)
			case !names[u.Name]:
				f.addf(prefix(i)+u.Pointer, "there is no secret %q", u.Name)
			}
		}
	}
	return f.err()
}

// sealedNames returns what there is of a kind, and remembers it in known.
func (s *Service) sealedNames(ctx context.Context, kind SealedKind, client string, known map[SealedKind]map[string]bool) (map[string]bool, error) {
	if known[kind] != nil || s.vault == nil {
		return known[kind], nil
	}
	most, _ := kind.Max()
	list, err := s.vault.Page(ctx, kind, client, "", int(most))
	if err != nil {
		return nil, fmt.Errorf("list what is sealed: %w", err)
	}
	known[kind] = make(map[string]bool)
	for _, one := range list {
		known[kind][one.Name] = true
	}
	return known[kind], nil
}

// secretNames returns the secrets that actions name, each once.
func (p *Processor) secretNames(actions []json.RawMessage) (names []string) {
	confider, ok := p.runner.(Confider)
	if !ok {
		return nil
	}
	for _, raw := range actions {
		for _, u := range confider.Secrets(raw) {
			if !slices.Contains(names, u.Name) {
				names = append(names, u.Name)
			}
		}
	}
	return names
}

// conceal has the redactor know the secrets of the job, before its first action. One that is
// gone fails the action that needs it.
func (a *attempt) conceal(ctx context.Context) error {
	for ; len(a.secrets) > 0; a.secrets = a.secrets[1:] {
		s, err := a.secret(ctx, a.secrets[0])
		var known *ActionError
		switch {
		case err == nil:
			a.redactor.Add(s.Value)
		case !errors.As(err, &known) || known.Class != ClassSecret:
			return err
		}
	}
	return nil
}

// secret returns a secret of the job's client, for an action.
func (a *attempt) secret(ctx context.Context, name string) (Secret, error) {
	if a.p.svc.vault == nil {
		return Secret{}, &ActionError{Class: ClassSecret, Message: NoVault}
	}
	s, err := a.p.svc.vault.Secret(ctx, a.l.Lease.Client, name)
	if errors.Is(err, ErrNotSealed) {
		return s, &ActionError{Class: ClassSecret, Message: fmt.Sprintf("there is no secret %q any more", name)}
	}
	return s, unreadable(ctx, "the secret", err)
}

// unreadable is the failure of an action that was to read something that is sealed.
func unreadable(ctx context.Context, what string, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	return &ActionError{Class: ClassInternal, Message: what + " could not be read", Retryable: true, Err: err}
}

// Sealed is a secret or a state as the store keeps it.
type Sealed struct {
	Kind   SealedKind
	Client string
	Name   string
	Places []string // of a secret: its Hosts; of a state: its origins
	Size   int      // bytes of what is sealed
	KeyID  []byte   // of the key that it is sealed with
	Data   []byte   // sealed

	CreatedAt, UpdatedAt time.Time
}

// ParseSecret reads the body that makes a secret, {"value", "hosts"?}. It returns
// *MalformedError or *InvalidError, which do not tell anything of the value.
func ParseSecret(body []byte) (Secret, error) {
	var in struct {
		Value *string  `json:"value"`
		Hosts []string `json:"hosts"`
	}
	if err := DecodeObject(body, &in); err != nil {
		return Secret{}, err
	}
	var f faults
	switch {
	case in.Value == nil:
		f.add("/value", "is required")
	case len(*in.Value) < minSecretBytes || len(*in.Value) > MaxSecretBytes:
		f.addf("/value", "must have %d to %d bytes", minSecretBytes, MaxSecretBytes)
	case strings.ContainsFunc(*in.Value, unicode.IsControl): // fields change them, and nobody would know it again
		f.add("/value", "must have no line breaks and no other control characters; a line break at the end often comes from a file or from echo: "+
			"printf %s makes none, and jq -Rs 'rtrimstr(\"\\n\")' takes it away")
	}
	hosts, err := ParseHosts(in.Hosts)
	if err != nil {
		f.add("/hosts", err.Error())
	} else if !few(hosts) {
		f.addf("/hosts", "must have at most %d hosts of %d bytes together", maxKeyHosts, maxKeyHostBytes)
	}
	if err := f.err(); err != nil {
		return Secret{}, err
	}
	return Secret{Value: *in.Value, Hosts: hosts}, nil
}

// ValidSealedName reports whether a secret or a state may have a name: [A-Za-z0-9._-]{1,64}.
func ValidSealedName(name string) bool { return len(name) <= MaxSealedName && ValidArtifactName(name) }

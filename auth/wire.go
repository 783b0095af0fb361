package auth

import (
	"bytes"
	"encoding/json"
	"time"
)

// stampFormat is how a time stands on the wire: RFC 3339, UTC, three decimals.
const stampFormat = "2006-01-02T15:04:05.000Z"

type stamp time.Time

func (s stamp) MarshalJSON() ([]byte, error) {
	return []byte(time.Time(s).UTC().Format(`"` + stampFormat + `"`)), nil
}

// MarshalJSON writes the Key object of the API: the members in the order of the
// fields, times with three decimals. A struct that embeds a Key and has members
// of its own needs a MarshalJSON of its own, or this one is taken for all of it.
func (k Key) MarshalJSON() ([]byte, error) { return k.encode("") }

// IssuedKey is a new key with its secret, which is shown once.
type IssuedKey struct {
	Key
	Secret string
}

// MarshalJSON writes the Key object with one member more, key, which is the secret.
func (k IssuedKey) MarshalJSON() ([]byte, error) { return k.encode(k.Secret) }

// encode leaves it to the encoder around it to escape HTML.
func (k Key) encode(secret string) ([]byte, error) {
	scopes := k.Scopes
	if scopes == nil {
		scopes = []Scope{}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(struct {
		ID             string  `json:"id"`
		ClientID       string  `json:"clientId"`
		Name           string  `json:"name"`
		Scopes         []Scope `json:"scopes"`
		MaxConnections *int    `json:"maxConnections"`

		AllowHosts []string `json:"allowHosts"` // null: none
		DenyHosts  []string `json:"denyHosts"`

		CreatedAt  stamp  `json:"createdAt"`
		ExpiresAt  *stamp `json:"expiresAt"`
		RevokedAt  *stamp `json:"revokedAt"`
		LastUsedAt *stamp `json:"lastUsedAt"`
		Key        string `json:"key,omitempty"`
	}{
		k.ID, k.ClientID, k.Name, scopes, k.MaxConnections, k.AllowHosts, k.DenyHosts, stamp(k.CreatedAt),
		(*stamp)(k.ExpiresAt), (*stamp)(k.RevokedAt), (*stamp)(k.LastUsedAt), secret,
	})
	return b.Bytes(), err
}

package auth

import (
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
func (k Key) MarshalJSON() ([]byte, error) {
	scopes := k.Scopes
	if scopes == nil {
		scopes = []Scope{}
	}
	return json.Marshal(struct {
		ID             string  `json:"id"`
		ClientID       string  `json:"clientId"`
		Name           string  `json:"name"`
		Scopes         []Scope `json:"scopes"`
		MaxConnections *int    `json:"maxConnections"`
		CreatedAt      stamp   `json:"createdAt"`
		ExpiresAt      *stamp  `json:"expiresAt"`
		RevokedAt      *stamp  `json:"revokedAt"`
		LastUsedAt     *stamp  `json:"lastUsedAt"`
	}{
		k.ID, k.ClientID, k.Name, scopes, k.MaxConnections, stamp(k.CreatedAt),
		(*stamp)(k.ExpiresAt), (*stamp)(k.RevokedAt), (*stamp)(k.LastUsedAt),
	})
}

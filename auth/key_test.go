package auth_test

import (
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobcast/jobcast/auth"
)

func ptr[T any](v T) *T { return &v }

func TestNewKey(t *testing.T) {
	form := regexp.MustCompile(`^jc_([a-z0-9]{10})_[A-Za-z0-9]{32}$`) // 32 of base32: 160 bits
	before := time.Now()
	key, secret, err := auth.NewKey("acme", "laptop", nil, auth.KeyOptions{MaxConnections: ptr(7), TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	m := form.FindStringSubmatch(secret)
	if m == nil || m[1] != key.ID {
		t.Errorf("key %q with id %q has not the form jc_<id>_<secret>", secret, key.ID)
	}
	if key.Hash != auth.Hash(secret) {
		t.Error("the hash is not the hash of the whole text")
	}
	if diff := cmp.Diff([]auth.Scope{auth.Submit, auth.Watch, auth.Work}, key.Scopes); diff != "" {
		t.Errorf("default scopes (-want +got):\n%s", diff)
	}
	if d := key.CreatedAt.Sub(before).Abs(); d > time.Minute || key.CreatedAt.Location() != time.UTC {
		t.Errorf("createdAt %v is not now in UTC", key.CreatedAt)
	}
	if key.ExpiresAt == nil || key.ExpiresAt.Sub(key.CreatedAt) != time.Hour {
		t.Errorf("expiresAt %v is not an hour after createdAt", key.ExpiresAt)
	}
	if key.ClientID != "acme" || key.Name != "laptop" || key.MaxConnections == nil || *key.MaxConnections != 7 {
		t.Errorf("key %+v is not what was asked for", key.Key)
	}
}

func TestNewKeysDiffer(t *testing.T) {
	seen := make(map[string]bool)
	for range 1000 {
		key, secret, err := auth.NewKey("acme", "", nil, auth.KeyOptions{})
		if err != nil {
			t.Fatal(err)
		}
		tail := secret[strings.LastIndex(secret, "_"):]
		if seen[key.ID] || seen[tail] {
			t.Fatalf("id or secret came twice in 1000 keys")
		}
		seen[key.ID], seen[tail] = true, true
	}
}

func TestScopesAreOrderedOnce(t *testing.T) {
	key, _, err := auth.NewKey("acme", "", []auth.Scope{auth.Admin, auth.Watch, auth.Admin}, auth.KeyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]auth.Scope{auth.Watch, auth.Admin}, key.Scopes); diff != "" {
		t.Error(diff)
	}
}

func TestValidate(t *testing.T) {
	ok := func(client, name string, scopes []auth.Scope, opts auth.KeyOptions) error {
		return auth.Validate(client, name, scopes, opts)
	}
	none := auth.KeyOptions{}
	for name, tc := range map[string]struct {
		err   error
		field string // empty: accepted
	}{
		"plain":              {ok("acme", "", nil, none), ""},
		"every character":    {ok("a-z_0.9", "Büro 3 – 東京", nil, none), ""},
		"longest":            {ok(strings.Repeat("c", 64), strings.Repeat("é", 100), nil, none), ""},
		"all scopes":         {ok("a", "", []auth.Scope{"submit", "watch", "work", "admin"}, none), ""},
		"highest limit":      {ok("a", "", nil, auth.KeyOptions{MaxConnections: ptr(100_000)}), ""},
		"lowest limit":       {ok("a", "", nil, auth.KeyOptions{MaxConnections: ptr(1)}), ""},
		"ten years":          {ok("a", "", nil, auth.KeyOptions{TTL: 87_600 * time.Hour}), ""},
		"no client":          {ok("", "", nil, none), "clientId"},
		"long client":        {ok(strings.Repeat("c", 65), "", nil, none), "clientId"},
		"upper-case client":  {ok("Acme", "", nil, none), "clientId"},
		"client with slash":  {ok("a/b", "", nil, none), "clientId"},
		"client with LF":     {ok("a\n", "", nil, none), "clientId"},
		"long name":          {ok("a", strings.Repeat("é", 101), nil, none), "name"},
		"name with tab":      {ok("a", "a\tb", nil, none), "name"},
		"name with escape":   {ok("a", "\x1b[2J", nil, none), "name"},
		"name turning round": {ok("a", "a\u202eb", nil, none), "name"},
		"name not UTF-8":     {ok("a", "a\xff", nil, none), "name"},
		"unknown scope":      {ok("a", "", []auth.Scope{"submit", "root"}, none), "scopes"},
		"empty scope":        {ok("a", "", []auth.Scope{""}, none), "scopes"},
		"no connections":     {ok("a", "", nil, auth.KeyOptions{MaxConnections: ptr(0)}), "maxConnections"},
		"too many":           {ok("a", "", nil, auth.KeyOptions{MaxConnections: ptr(100_001)}), "maxConnections"},
		"negative ttl":       {ok("a", "", nil, auth.KeyOptions{TTL: -time.Hour}), "ttl"},
		"tiny ttl":           {ok("a", "", nil, auth.KeyOptions{TTL: time.Millisecond}), "ttl"},
		"huge ttl":           {ok("a", "", nil, auth.KeyOptions{TTL: 87_601 * time.Hour}), "ttl"},
	} {
		t.Run(name, func(t *testing.T) {
			var invalid *auth.InvalidError
			switch {
			case tc.field == "" && tc.err != nil:
				t.Errorf("refused: %v", tc.err)
			case tc.field != "" && (!errors.As(tc.err, &invalid) || invalid.Field != tc.field):
				t.Errorf("got %v, want a refusal of %s", tc.err, tc.field)
			}
		})
	}
}

func TestImport(t *testing.T) {
	_, ours, err := auth.NewKey("other", "", nil, auth.KeyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		secret string
		ok     bool
	}{
		"shortest":           {"0123456789abcdefghij", true},
		"longest":            {strings.Repeat("x", 512), true},
		"any visible":        {"!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~", true},
		"ours":               {ours, true},
		"too short":          {"0123456789abcdefghi", false},
		"too long":           {strings.Repeat("x", 513), false},
		"empty":              {"", false},
		"space inside":       {"0123456789 abcdefghij", false},
		"newline at the end": {"0123456789abcdefghij\n", false},
		"not ASCII":          {"0123456789abcdefghijé", false},
		"ours, cut":          {ours[:len(ours)-6], false},
		"ours, no id":        {"jc__" + strings.Repeat("a", 32), false},
		"a token":            {"jct_" + strings.Repeat("a", 32), false},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := auth.Import(tc.secret, "acme", "old", nil, auth.KeyOptions{})
			if tc.ok {
				if err != nil || key.Hash != auth.Hash(tc.secret) || key.ClientID != "acme" || key.ID == "" {
					t.Errorf("got %+v, %v", key, err)
				}
				return
			}
			var invalid *auth.InvalidError
			if !errors.As(err, &invalid) || invalid.Field != "secret" {
				t.Fatalf("got %v, want a refusal of the secret", err)
			}
			if tc.secret != "" && strings.Contains(err.Error(), strings.TrimSpace(tc.secret)) {
				t.Error("the refusal repeats the secret")
			}
		})
	}
	key, err := auth.Import(ours, "acme", "", nil, auth.KeyOptions{})
	if err != nil || !strings.HasPrefix(ours, "jc_"+key.ID+"_") {
		t.Errorf("id %q is not the one that the key names (%v)", key.ID, err)
	}
}

func TestKeyJSON(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	key := auth.Key{ID: "k1", ClientID: "acme", Name: "n", Scopes: []auth.Scope{auth.Watch}, CreatedAt: at}
	want := `{"id":"k1","clientId":"acme","name":"n","scopes":["watch"],"maxConnections":null,"allowHosts":null,"denyHosts":null,` +
		`"createdAt":"2026-01-02T02:04:05.000Z","expiresAt":null,"revokedAt":null,"lastUsedAt":null}`
	got, err := json.Marshal(key)
	if err != nil || string(got) != want {
		t.Errorf("got  %s (%v)\nwant %s", got, err, want)
	}
	key.MaxConnections, key.ExpiresAt, key.RevokedAt, key.LastUsedAt = ptr(5), &at, &at, &at
	got, err = json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	var back auth.Key
	if err := json.Unmarshal(got, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(key, back); diff != "" {
		t.Errorf("a key does not survive its own JSON (-want +got):\n%s", diff)
	}
}

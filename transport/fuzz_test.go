package transport

import (
	"strings"
	"testing"
)

func FuzzParseBearer(f *testing.F) {
	for _, s := range []string{"Bearer abc", "bearer", "Bearer  a b", "Basic x", "Bearer \x00", "Bearer\tabc", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		secret, err := parseBearer([]byte(value))
		if err != nil && secret != "" {
			t.Fatal("a secret beside an error")
		}
		if secret != "" && (!visibleASCII(secret) || !strings.Contains(value, secret)) {
			t.Fatalf("secret %q from %q", secret, value)
		}
		if again, err := parseBearer([]byte("Bearer " + secret)); secret != "" && (err != nil || again != secret) {
			t.Fatalf("%q does not survive: %q, %v", secret, again, err)
		}
	})
}

func FuzzParseHop(f *testing.F) {
	for _, s := range []string{"1.2.3.4", "[::1]:80", "::ffff:1.2.3.4", "fe80::1%eth0", "unknown", "_hidden"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if addr, ok := parseHop(s); ok && (!addr.IsValid() || addr.Is4In6() || addr.Zone() != "") {
			t.Fatalf("%q gave %v", s, addr)
		}
	})
}

package auth_test

import (
	"testing"

	"github.com/jobcast/jobcast/auth"
)

// BenchmarkOpen is what the admission of a stream, and its end, cost a key that has
// 1,000 of them.
func BenchmarkOpen(b *testing.B) {
	store := openStore(b)
	_, secret := newKey(b, store, "acme", auth.KeyOptions{MaxConnections: ptr(100_000)})
	v := auth.NewVerifier(store, auth.VerifierOptions{})
	defer run(b, v)()
	p := verify(b, v, secret)
	for range 1000 {
		if _, err := v.Streams().Open(b.Context(), p, "sse", ignore); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			slot, err := v.Streams().Open(b.Context(), p, "sse", ignore)
			if err != nil {
				b.Error(err)
				return
			}
			slot.Release()
		}
	})
}

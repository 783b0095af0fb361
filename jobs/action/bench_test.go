package action

import (
	"strings"
	"testing"

	"github.com/jobcast/jobcast/jobs"
)

// BenchmarkParseSubmit reads submits of actions as clients send them.
func BenchmarkParseSubmit(b *testing.B) {
	post := `{"type":"http","method":"POST","url":"https://example.com/hook?x=1",` +
		`"headers":{"Authorization":"Bearer 0123456789","Content-Type":"application/json"},` +
		`"body":{"order":4711,"lines":[{"sku":"a-1","n":2},{"sku":"b-2","n":1}],"note":"at the \"back\" door"},"expectStatus":[200,201]}`
	for name, actions := range map[string]string{
		"wait":  `{"type":"wait","ms":0}`,
		"http":  post,
		"https": strings.Repeat(post+",", 49) + post,
		"large": `{"type":"http","method":"POST","url":"https://example.com/","body":{"lines":[` + strings.Repeat(`{"sku":"a-1","n":2},`, 5000) + `0]}}`,
	} {
		body := []byte(`{"actions":[` + actions + `],"metadata":{"tenant":"a"},"maxAttempts":3}`)
		b.Run(name, func(b *testing.B) {
			o := jobs.SubmitOptions{Actions: Builtin(Options{})}
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := jobs.ParseSubmit(body, o); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

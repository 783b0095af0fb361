package browser

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/jobs/action/browser/steps"
)

// TestLoud: a page that logs without end is not listened to any more, and ended if it does not
// pause; the browser lives on, and with it the pages of others. The log says so once.
func TestLoud(t *testing.T) {
	w := newWorld(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		showing(map[string]string{
			"/loud":    `<script>setInterval(() => { for (let i = 0; i < 40; i++) console.log("x".repeat(200)) }, 20)</script>`,
			"/endless": `<script>onload = () => setTimeout(() => { for (;;) console.log("x".repeat(200)) }, 200)</script>`,
		}[r.URL.Path]).ServeHTTP(w, r)
	}), func(o *Options) { o.Contexts, o.patience = 3, time.Minute })
	var mu sync.Mutex
	var log []string
	of := func(job string) *attempt {
		a := w.attempt(job)
		a.env.Console = "warn"
		a.env.Log = func(_ context.Context, lines []jobs.LogLine) error {
			mu.Lock()
			defer mu.Unlock()
			for _, l := range lines {
				log = append(log, job+" "+l.Line)
			}
			return nil
		}
		return a
	}
	loud, endless, other := of("loud"), of("endless"), of("other")
	load := func(a *attempt, path string) {
		t.Helper()
		if err := a.navigate(t.Context(), "http://site.test/"+path); err != nil {
			t.Errorf("%s: %v", a.env.JobID, err)
		}
	}
	load(other, "")
	load(loud, "loud")
	until(t, "nobody listens to the loud page", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return strings.Contains(strings.Join(log, "\n"), "loud jobcast listens no more")
	})
	load(loud, "")
	load(endless, "endless")
	class(t, endless.run(t.Context(), `{"type":"waitForElement","selector":"#none","timeout":30000}`), steps.ClassCrashed, true, "logs without end")
	load(other, "")
	load(loud, "")
	for _, a := range []*attempt{loud, endless, other} {
		a.scope.Close()
	}
	if s := w.Stats(); s.Starts != 1 || len(s.Ends) != 0 {
		t.Errorf("stats are %+v", s)
	}
	if all := strings.Join(log, "\n"); strings.Count(all, "listens no more") != 2 || strings.Contains(all, "other") {
		t.Errorf("the log is %s", all)
	}
}

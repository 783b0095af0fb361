package examples_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobcast/jobcast/client"
)

// recorded is what a recording leaves behind.
type recorded struct {
	Data      string // the JSON of result.data
	Artifacts []string
}

// recordings: every recording runs as it is against the pages of the example site.
func recordings(t *testing.T, s stage) {
	site := httptest.NewServer(http.FileServer(http.Dir("site")))
	t.Cleanup(site.Close)
	wants := map[string]recorded{
		"search": {},
		"order":  {`{"order":"T-sencha-2"}`, []string{"order.png"}},
		"report": {`{"sales":[["Tea","Sold"],["Sencha","120"],["Gunpowder","103"],["Assam","86"],["Rooibos","69"]]}`, []string{"sales.pdf"}},
	}
	files, err := filepath.Glob("recordings/*.json")
	if err != nil || len(files) != len(wants) {
		t.Fatalf("recordings %v, %v; want %d", files, err, len(wants))
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			body := strings.ReplaceAll(string(text), "http://localhost:8000", site.URL)
			job, events, err := s.client.SubmitAndWatch(t.Context(), client.Submission{Body: []byte(body)}, client.WatchOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for _, err := range events {
				if err != nil {
					t.Fatal(err)
				}
			}
			job = s.job(t, job.ID)
			var result struct{ Data json.RawMessage }
			if err := json.Unmarshal(job.Result, &result); err != nil || job.Status != client.Completed || job.Attempt != 1 {
				t.Fatalf("%v: %s", err, job.Raw())
			}
			got := recorded{Data: string(result.Data)}
			for _, a := range job.Artifacts {
				got.Artifacts = append(got.Artifacts, a.Name)
			}
			if diff := cmp.Diff(wants[name], got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

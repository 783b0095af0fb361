package browser_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/jobcast/jobcast/e2e/program"
)

// shop is a site with a search, a page that opens another one, a file and an upload.
func shop() http.Handler {
	mux := http.NewServeMux()
	page := func(path, body string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			fmt.Fprint(w, "<!doctype html><title>Shop</title>"+body)
		})
	}
	page("/{$}", `<form action=/found><label for=q>Search</label><input id=q name=q><button>Go</button></form>
		<button id=buy>Buy</button><div class="cookie-banner" style="position:fixed;inset:0;top:50%">We use cookies</div>`)
	page("/found", `<ul><li class=row>Green tea<li class=row>Black tea</ul><a id=list href=/list.csv>List</a>
		<button onclick="window.open('/offer')">Offer</button><input id=file type=file>
		<script>file.onchange = async () => { document.title = await file.files[0].text() }</script>`)
	page("/offer", `<b id=price>3 EUR</b>`)
	mux.HandleFunc("/list.csv", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Disposition", "attachment")
		fmt.Fprint(w, "green,3")
	})
	return mux
}

// TestRecording: what Chrome's Recorder exports runs as it is, with ours beside its steps;
// what it extracts is in the result, what it captures and loads are artifacts; and what is
// wrong with a recording is said at its place.
func TestRecording(t *testing.T) {
	site := httptest.NewServer(shop())
	defer site.Close()
	s := program.Start(t, binary(t), "--allow-private-addresses")
	recording := strings.NewReplacer("SITE", site.URL).Replace(`{
		"title": "Find tea", "timeout": 8000, "selectorAttribute": "data-test",
		"steps": [
			{"type": "setViewport", "width": 900, "height": 600, "deviceScaleFactor": 1, "isMobile": false, "hasTouch": false, "isLandscape": false},
			{"type": "navigate", "url": "SITE/", "assertedEvents": [{"type": "navigation", "url": "SITE/", "title": "Shop"}]},
			{"type": "change", "target": "main", "selectors": [["aria/Search"], ["#q"], ["xpath///*[@id=\"q\"]"], ["pierce/#q"]], "value": "tea"},
			{"type": "keyDown", "target": "main", "key": "Enter", "assertedEvents": [{"type": "navigation", "url": "", "title": ""}]},
			{"type": "keyUp", "target": "main", "key": "Enter"},
			{"type": "waitForElement", "selectors": [".row"], "count": 2},
			{"type": "click", "target": "main", "selectors": [["text/List"]], "offsetX": 4, "offsetY": 4},
			{"type": "customStep", "name": "jobcast.upload", "parameters": {"selector": "#file", "artifact": "list.csv"}},
			{"type": "click", "target": "main", "selectors": [["aria/Offer[role=\"button\"]"]], "offsetX": 4, "offsetY": 4},
			{"type": "customStep", "name": "jobcast.extract", "target": "SITE/offer", "parameters": {"name": "price", "selector": "#price"}},
			{"type": "extract", "name": "rows", "selector": ".row", "all": true},
			{"type": "customStep", "name": "jobcast.screenshot", "parameters": {"name": "found"}},
			{"type": "http", "url": "SITE/offer"},
			{"type": "waitForUrl", "pattern": "*/found?q=tea"}
		]}`)
	r := call(t, s, "POST", "/v1/jobs", recording)
	var j struct {
		ID, Status, Title, ErrorMessage string
		Actions                         []struct{ Timeout *int }
		Result                          struct{ Data json.RawMessage }
		Artifacts                       []struct{ Name, ContentType string }
	}
	if err := json.Unmarshal([]byte(r.Text), &j); err != nil || j.Status != "completed" || j.Title != "Find tea" {
		t.Fatalf("%d %s", r.Status, r.Text)
	}
	if want := `{"price":"3 EUR","rows":["Green tea","Black tea"]}`; string(j.Result.Data) != want {
		t.Errorf("data %s, want %s", j.Result.Data, want)
	}
	if got, want := fmt.Sprint(j.Artifacts), "[{list.csv text/plain; charset=utf-8} {found.png image/png}]"; got != want {
		t.Errorf("artifacts %s, want %s", got, want)
	}
	if got := call(t, s, "GET", "/v1/jobs/"+j.ID+"/artifacts/list.csv", "").Text; got != "green,3" {
		t.Errorf("the file is %q", got)
	}
	if len(j.Actions) != 14 || j.Actions[0].Timeout == nil || *j.Actions[0].Timeout != 8000 || j.Actions[12].Timeout != nil {
		t.Errorf("time-outs of %+v", j.Actions)
	}

	failed := submit(t, s, `{"maxAttempts":1,"actions":[{"type":"navigate","url":"`+site.URL+`"},{"type":"click","selector":"#buy"},{"type":"close"}]}`)
	if failed.Error != "" || failed.Status != "completed" {
		t.Errorf("%+v", failed)
	}
	failed = submit(t, s, `{"maxAttempts":1,"actions":[{"type":"navigate","url":"`+site.URL+`"},{"type":"setViewport","width":300,"height":80},{"type":"click","selector":"#buy","timeout":3000}]}`)
	if want := `Waiting for selector "#buy" failed: 3000ms exceeded (covered by <div class="cookie-banner">)`; failed.ErrorMessage != want || failed.Error != "TimeoutError" {
		t.Errorf("%+v, want %s", failed, want)
	}
	r = call(t, s, "POST", "/v1/jobs", `{"title":"x","steps":[{"type":"click","selectors":[["aria/"]]},{"type":"evaluate","expression":"1"}]}`)
	for _, pointer := range []string{"/steps/0/selectors/0/0", "/steps/1/type"} {
		if r.Status != 422 || !strings.Contains(r.Text, `"pointer":"`+pointer+`"`) {
			t.Errorf("no fault at %s: %d %s", pointer, r.Status, r.Text)
		}
	}
}

package browser_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobcast/jobcast/e2e/program"
)

// canary is a password that shows wherever it stands, also as part of another text.
const canary = "canary-4f7a&9c1e"

// gate is a site that lets in who knows the password, and gives it away wherever it can.
func gate(t *testing.T) *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<form method=post action="/in"><input id=p name=p type=password><button>in</button></form>
			<script>p.oninput = () => console.log('typed ' + p.value)</script>`)
	})
	mux.HandleFunc("POST /in", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("p") != canary {
			http.Error(w, "wrong", http.StatusForbidden)
			return
		}
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "known", HttpOnly: true})
		http.Redirect(w, r, "/home?p="+canary, http.StatusSeeOther)
	})
	mux.HandleFunc("/home", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, "<h1>welcome %s</h1><script>localStorage.token = 'visitor'; console.error(%q); throw new Error(%q)</script>", canary, canary, canary)
	})
	var asked atomic.Bool
	mux.HandleFunc("/second", func(w http.ResponseWriter, r *http.Request) {
		if !asked.Swap(true) {
			http.Error(w, "later", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("/account", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		c, _ := r.Cookie("session")
		fmt.Fprintf(w, "<h1></h1><script>document.querySelector('h1').textContent = %q + ' ' + localStorage.token</script>", c)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// keyFile makes the file of a key.
func keyFile(t *testing.T, char string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secrets.key")
	if err := os.WriteFile(path, []byte(strings.Repeat(char, 64)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSecrets: a password that is kept as a secret logs a job in; no answer, event, artifact or
// line of the log has it; and what cannot be had is refused when the job is submitted.
func TestSecrets(t *testing.T) {
	site := gate(t)
	binary := binary(t)
	s := program.Start(t, binary, "--allow-private-addresses", "--secret-key-file="+keyFile(t, "a"), "--log-level=debug")
	admin := s.MakeKey(t, "--client=demo", "--scope=admin")
	if r := callAs(t, s, admin, "PUT", "/v1/secrets/shop", fmt.Sprintf(`{"value":%q}`, canary), "Content-Type: application/json"); r.Status != 201 {
		t.Fatalf("keep: %d %s", r.Status, r.Text)
	}
	if r := callAs(t, s, admin, "PUT", "/v1/secrets/other", fmt.Sprintf(`{"value":%q,"hosts":["other.test"]}`, canary), "Content-Type: application/json"); r.Status != 201 {
		t.Fatalf("keep: %d %s", r.Status, r.Text)
	}
	login := func(secret, then string) string {
		return fmt.Sprintf(`{"maxAttempts":1,"steps":[{"type":"navigate","url":%q},{"type":"change","selector":"#p","value":{"secret":%q}},
			{"type":"click","selector":"button","assertedEvents":[{"type":"navigation"}]},{"type":"extract","selector":"h1","name":"h1"},
			{"type":"screenshot","name":"home"}%s]}`, site.URL, secret, then)
	}
	told := func(j job) {
		t.Helper()
		for _, path := range []string{"", "/events"} {
			text := call(t, s, "GET", "/v1/jobs/"+j.ID+path, "").Text
			if strings.Contains(text, "4f7a") {
				t.Errorf("%s tells the secret: %s", path, text)
			}
			if path == "" && !strings.Contains(text, `{"secret":"`) {
				t.Errorf("the job does not name the secret: %s", text)
			}
		}
		for _, a := range j.Artifacts {
			if r := call(t, s, "GET", a.URL, ""); r.Status != 200 || strings.Contains(r.Text, "4f7a") {
				t.Errorf("%s tells the secret: %d", a.Name, r.Status)
			}
		}
	}
	j := submit(t, s, `{"console":"debug",`+login("shop", "")[1:])
	if j.Status != "completed" || j.Result.Data["h1"] != "welcome ***" || len(j.Artifacts) == 0 {
		t.Errorf("a login: %+v", j)
	}
	told(j)
	if text := call(t, s, "GET", "/v1/jobs/"+j.ID+"/events", "").Text; !strings.Contains(text, `{"level":"info","line":"typed *** (`) || !strings.Contains(text, `{"level":"error","line":"Uncaught Error: ***`) {
		t.Errorf("its pages' consoles are not in the log: %s", text)
	}
	j = submit(t, s, login("shop", `,{"type":"waitForUrl","pattern":"*x","timeout":100}`))
	if j.Status != "failed" || j.Error != "TimeoutError" {
		t.Errorf("a job that fails when it is logged in: %+v", j)
	}
	if !strings.Contains(fmt.Sprint(j.Artifacts), "failure.html") {
		t.Errorf("it leaves no evidence: %v", j.Artifacts)
	}
	told(j)
	// It is known before it is used, also to who extracts what an earlier job has made of it.
	// So it is in a second attempt, and in what http is answered.
	j = submit(t, s, fmt.Sprintf(`{"console":"debug","maxAttempts":2,"actions":[{"type":"http","url":%q},{"type":"navigate","url":%q},{"type":"extract","selector":"h1","name":"h1"},
		{"type":"navigate","url":%q},{"type":"change","selector":"#p","value":{"secret":"shop"}},{"type":"navigate","url":%q,"expectStatus":200}]}`, site.URL+"/home", site.URL+"/home", site.URL, site.URL+"/second"))
	if j.Status != "completed" || j.Result.Data["h1"] != "welcome ***" {
		t.Errorf("a page that knows it: %+v", j)
	}
	if text := call(t, s, "GET", "/v1/jobs/"+j.ID, "").Text; !strings.Contains(text, `"attempt":2`) || !strings.Contains(text, `"body":"<h1>welcome ***</h1>`) {
		t.Errorf("of http, in a second attempt: %s", text)
	}
	told(j)
	j = submit(t, s, login("other", ""))
	if j.Status != "failed" || j.Error != "SecretError" || j.ErrorMessage != `the secret "other" is not meant for 127.0.0.1` {
		t.Errorf("a secret of other hosts: %+v", j)
	}
	one := `{"actions":[{"type":"wait","ms":1},{"type":"setHeaders","headers":{"A":{"secret":"none"},"B":{"secret":"shop"}}}]}`
	if r := call(t, s, "POST", "/v1/jobs", one); r.Status != 422 || !strings.Contains(r.Text, `"errors":[{"pointer":"/actions/1/headers/A/secret","detail":"there is no secret \"none\""}]`) {
		t.Errorf("an unknown secret: %d %s", r.Status, r.Text)
	}
	if r := call(t, s, "POST", "/v1/jobs/batch", `{"jobs":[{"queue":"q"},`+one+`]}`); r.Status != 422 || !strings.Contains(r.Text, `"errors":[{"pointer":"/jobs/1/actions/1/headers/A/secret"`) {
		t.Errorf("an unknown secret in a batch: %d %s", r.Status, r.Text)
	}
	foreign := s.MakeKey(t, "--client=foreign", "--scope=submit,watch,admin")
	if r := callAs(t, s, foreign, "POST", "/v1/jobs", login("shop", "")); r.Status != 422 || !strings.Contains(r.Text, `/steps/1/value/secret`) {
		t.Errorf("another client's secret: %d %s", r.Status, r.Text)
	}
	states(t, s, admin, foreign, site.URL, login)
	if log := s.Log(); strings.Contains(log, "4f7a") || !strings.Contains(log, "/v1/secrets/shop") {
		t.Errorf("the log, of %d bytes, tells the secret, or nothing at all", len(log))
	}
	refusesOtherKey(t, binary, s.Data, keyFile(t, "b"))
	bare := program.Start(t, binary)
	for at, body := range map[string]string{
		"/steps/1/value/secret": login("shop", ""), "/state": `{"steps":[{"type":"navigate","url":"about:blank"}],"state":{"save":"shop"}}`,
	} {
		if r := call(t, bare, "POST", "/v1/jobs", body); r.Status != 422 || !strings.Contains(r.Text, `"pointer":"`+at+`"`) || !strings.Contains(r.Text, "--secret-key-file") {
			t.Errorf("without a key: %d %s", r.Status, r.Text)
		}
	}
}

// states: who has logged in once stays so, in jobs of the same client that use the state; it
// is kept by a job that completes and by no other.
func states(t *testing.T, s *program.Server, admin, foreign, site string, login func(secret, then string) string) {
	t.Helper()
	with := func(state, body string) string { return `{"console":"debug","state":` + state + `,` + body[1:] }
	account := fmt.Sprintf(`{"maxAttempts":1,"steps":[{"type":"navigate","url":%q},{"type":"extract","selector":"h1","name":"h1"}]}`, site+"/account")
	says := func(key, body, want string) {
		t.Helper()
		r := callAs(t, s, key, "POST", "/v1/jobs", body, "Prefer: wait=60")
		if !strings.Contains(r.Text, `"data":{"h1":"`+want+`"}`) {
			t.Errorf("%s: %d %s, want %s", body, r.Status, r.Text, want)
		}
	}
	list := func(key, want string) {
		t.Helper()
		if r := callAs(t, s, key, "GET", "/v1/browser-states", ""); r.Status != 200 || !strings.HasPrefix(r.Text, want) {
			t.Errorf("the list of states is %d %s, want %s", r.Status, r.Text, want)
		}
	}
	const both = `{"use":"shop","save":"shop"}`
	refused := func(key, body, at string) {
		t.Helper()
		if r := callAs(t, s, key, "POST", "/v1/jobs", body); r.Status != 422 || !strings.Contains(r.Text, `"pointer":"`+at+`"`) {
			t.Errorf("%s: %d %s, want a fault at %s", body, r.Status, r.Text, at)
		}
	}
	refused(s.Key, with(`{"use":"shop"}`, account), "/state/use")
	if j := submit(t, s, with(both, login("shop", `,{"type":"waitForUrl","pattern":"*x","timeout":100}`))); j.Status != "failed" {
		t.Errorf("it was to fail: %+v", j)
	}
	list(admin, `{"states":[],"next":null}`)
	if j := submit(t, s, with(both, login("shop", ""))); j.Status != "completed" {
		t.Errorf("a login that is kept: %+v", j)
	}
	list(admin, `{"states":[{"name":"shop","origins":["`+site+`"],"size":`)
	says(s.Key, account, "undefined")
	says(s.Key, with(`{"use":"shop"}`, account), "session=known visitor")
	says(s.Key, with(`{"use":"shop","origins":["https://other.test"]}`, account), "undefined")
	refused(foreign, with(`{"use":"shop"}`, account), "/state/use")
	says(foreign, with(both, account), "undefined")
	list(foreign, `{"states":[{"name":"shop",`)
	if r := callAs(t, s, admin, "DELETE", "/v1/browser-states/shop", ""); r.Status != 204 {
		t.Errorf("delete: %d %s", r.Status, r.Text)
	}
	list(admin, `{"states":[],"next":null}`)
	list(foreign, `{"states":[{"name":"shop",`)
	refused(s.Key, with(`{"use":"shop"}`, account), "/state/use")
}

// refusesOtherKey starts a server on a copy of a folder with another key, or with none.
func refusesOtherKey(t *testing.T, binary, data, key string) {
	t.Helper()
	folder := t.TempDir()
	if err := os.CopyFS(filepath.Join(folder, "data"), os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	for path, says := range map[string]string{key: "is not the key of", key + "s": "no such file"} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		cmd := exec.CommandContext(ctx, binary, "serve", "--addr=127.0.0.1:0", "--data="+filepath.Join(folder, "data"), "--secret-key-file="+path)
		cmd.Env = program.Environ()
		out, err := cmd.CombinedOutput()
		cancel()
		if err == nil || cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), says) {
			t.Errorf("with the key %s: %v, %s", path, err, out)
		}
	}
}

package rest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
)

// Everything that a stranger must not learn holds this word.
const secretWord = "marker-5d1c"

// victim is a running job of acme with all that can be leaked of it.
type victim struct {
	given
	idem string
}

func (s *site) victim() victim {
	s.t.Helper()
	v := victim{idem: fmt.Sprint("key-", time.Now().UnixNano())}
	s.call("POST", "/v1/jobs", s.admin, v.body(), "Idempotency-Key: "+v.idem).job(s.t, 202)
	v.given = s.claim()
	report := `{"progress":1,"message":"` + secretWord + `","log":{"line":"` + secretWord + `"}}`
	if a := s.call("POST", "/v1/jobs/"+v.ID+"/progress", s.admin, report, "X-Lease-Token: "+v.Lease.Token); a.StatusCode != 200 {
		s.t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	if a := s.mustPut(v.given, "file.txt", "text/plain", secretWord); a.StatusCode != 201 {
		s.t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	return v
}

func (v victim) body() string {
	return `{"queue":"q","payload":"` + secretWord + `","metadata":{"a":"` + secretWord + `"}}`
}

// A batch of acme that others repeat.
const (
	batchBody = `{"jobs":[{"queue":"none","payload":"` + secretWord + `"},{"queue":"none"}]}`
	batchIdem = "Idempotency-Key: batch"
)

// attack is one call about a victim.
type attack struct {
	name, method, path, body string
	headers                  []string
	scope                    auth.Scope // what a key needs for it
	owner                    int        // status for a key of acme that may
	other                    int        // status for a key of another client that may
	reads                    bool       // it may be answered to a token of the job
}

func (v victim) attacks(keyID string) []attack {
	job := "/v1/jobs/" + v.ID
	lease := []string{"X-Lease-Token: " + v.Lease.Token}
	return []attack{
		{"get", "GET", job, "", nil, auth.Watch, 200, 404, true},
		{"list", "GET", "/v1/jobs?limit=200", "", nil, auth.Watch, 200, 200, false},
		{"artifact", "GET", job + "/artifacts/file.txt", "", nil, auth.Watch, 200, 404, true},
		{"artifact head", "HEAD", job + "/artifacts/file.txt", "", nil, auth.Watch, 200, 404, true},
		{"absent artifact", "GET", job + "/artifacts/none", "", nil, auth.Watch, 404, 404, true},
		{"mint", "POST", "/v1/tokens", `{"jobId":"` + v.ID + `"}`, nil, auth.Watch, 201, 404, false},
		{"cancel", "POST", job + "/cancel", "", nil, auth.Submit, 200, 404, false},
		{"retry", "POST", job + "/retry", "", nil, auth.Submit, 409, 404, false},
		{"same key", "POST", "/v1/jobs", v.body(), []string{"Idempotency-Key: " + v.idem}, auth.Submit, 202, 202, false},
		{"same key, watched", "POST", "/v1/jobs", v.body(), []string{"Idempotency-Key: " + v.idem, "Accept: text/event-stream"}, auth.Submit, 200, 200, false},
		{"same batch", "POST", "/v1/jobs/batch", batchBody, []string{batchIdem}, auth.Submit, 202, 202, false},
		{"a batch with its key", "POST", "/v1/jobs/batch", batchBody, []string{"Idempotency-Key: " + v.idem}, auth.Submit, 422, 202, false},
		{"claim", "POST", "/v1/workers/claim", `{"queues":["q"],"max":100}`, nil, auth.Work, 200, 200, false},
		{"progress", "POST", job + "/progress", `{"progress":1}`, lease, auth.Work, 200, 404, false},
		{"extend", "POST", job + "/extend", "", lease, auth.Work, 200, 404, false},
		{"complete", "POST", job + "/complete", "", lease, auth.Work, 200, 404, false},
		{"complete and claim", "POST", job + "/complete", `{"claim":{"queues":["q"]}}`, lease, auth.Work, 200, 404, false},
		{"complete all", "POST", "/v1/workers/complete", `{"jobs":[{"jobId":"` + v.ID + `","leaseToken":"` + v.Lease.Token + `"}]}`, nil, auth.Work, 200, 200, false},
		{"fail", "POST", job + "/fail", `{"errorMessage":"x"}`, lease, auth.Work, 200, 404, false},
		{"put", "PUT", job + "/artifacts/file.txt", `"x"`, lease, auth.Work, 201, 404, false},
		{"put secret", "PUT", "/v1/secrets/password", `{"value":"` + secretWord + `"}`, nil, auth.Admin, 201, 201, false},
		{"secrets", "GET", "/v1/secrets", "", nil, auth.Admin, 200, 200, false},
		{"delete secret", "DELETE", "/v1/secrets/password", "", nil, auth.Admin, 204, 204, false},
		{"delete no secret", "DELETE", "/v1/secrets/password", "", nil, auth.Admin, 404, 404, false},
		{"states", "GET", "/v1/browser-states", "", nil, auth.Admin, 200, 200, false},
		{"delete no state", "DELETE", "/v1/browser-states/shop", "", nil, auth.Admin, 404, 404, false},
		{"keys", "GET", "/v1/keys", "", nil, auth.Admin, 200, 200, false},
		{"revoke", "DELETE", "/v1/keys/" + keyID, "", nil, auth.Admin, 204, 404, false},
	}
}

// who is a caller of the matrix.
type who struct {
	name   string
	secret string
	client string // empty: nobody
	scopes []auth.Scope
	token  bool
	job    string // token of this job only
}

func (w who) may(scope auth.Scope) bool {
	for _, s := range w.scopes {
		if s == scope {
			return true
		}
	}
	return false
}

// want returns the status that w is to get.
func (w who) want(a attack, v victim) int {
	switch {
	case w.client == "":
		return 401
	case !w.may(a.scope):
		return 403
	case w.token && a.name == "mint":
		return 403
	case w.job != "" && a.name == "list":
		return 403
	case w.client != "acme":
		return a.other
	case w.job != "" && w.job != v.ID:
		return 404
	}
	return a.owner
}

// likeAbsent checks that a refusal is the one that an absent job gets.
func (s *site) likeAbsent(w who, a attack, v victim, got answer) {
	s.t.Helper()
	absent := uuid.NewString()
	none := s.call(a.method, strings.ReplaceAll(a.path, v.ID, absent), w.secret, strings.ReplaceAll(a.body, v.ID, absent), a.headers...)
	plain := func(a answer) string { return strings.ReplaceAll(a.body, a.Header.Get("X-Request-Id"), "") }
	if none.StatusCode != got.StatusCode || plain(none) != plain(got) {
		s.t.Errorf("%s, %s: %d %s\nand for an absent job %d %s", w.name, a.name, got.StatusCode, got.body, none.StatusCode, none.body)
	}
}

// Whoever calls about whichever job of somebody else: the answer is the one that
// fits an absent job, holds nothing of it, and changes nothing.
func TestIsolation(t *testing.T) {
	s := newSite(t, withVault(t))
	all := []auth.Scope{auth.Submit, auth.Watch, auth.Work, auth.Admin}
	watch := []auth.Scope{auth.Watch}
	stranger, ended := s.key("umbra", all...), s.key("acme", all...)
	if err := s.store.RevokeKey(t.Context(), "acme", s.keyID(ended), time.Now()); err != nil {
		t.Fatal(err)
	}
	token := func(key, body string) string {
		t.Helper()
		var made struct{ Token string }
		a := s.call("POST", "/v1/tokens", key, body)
		if err := json.Unmarshal([]byte(a.body), &made); err != nil || a.StatusCode != 201 {
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
		return made.Token
	}
	dies := s.key("acme", all...)
	deadToken := token(dies, "")
	if err := s.store.RevokeKey(t.Context(), "acme", s.keyID(dies), time.Now()); err != nil {
		t.Fatal(err)
	}
	batch := s.call("POST", "/v1/jobs/batch", s.admin, batchBody, batchIdem).batch(t)
	elsewhere := s.call("POST", "/v1/jobs", s.plain, `{"queue":"elsewhere"}`).job(t, 202).ID
	cells, leaks := 0, 0
	for _, w := range []who{
		{name: "owner", secret: s.admin, client: "acme", scopes: all},
		{name: "other", secret: stranger, client: "umbra", scopes: all},
		{name: "watcher", secret: s.watcher, client: "acme", scopes: watch},
		{name: "revoked", secret: ended},
		{name: "nobody"},
		{name: "client's token", secret: token(s.watcher, ""), client: "acme", scopes: watch, token: true},
		{name: "other's token", secret: token(stranger, ""), client: "umbra", scopes: watch, token: true},
		{name: "job's token", client: "acme", scopes: watch, token: true, job: "this"},
		{name: "another job's token", secret: token(s.plain, `{"jobId":"`+elsewhere+`"}`), client: "acme", scopes: watch, token: true, job: elsewhere},
		{name: "dead token", secret: deadToken},
	} {
		for i := range (victim{}).attacks("") {
			v := s.victim()
			if w.name == "job's token" {
				w.job, w.secret = v.ID, token(s.plain, `{"jobId":"`+v.ID+`"}`)
			}
			spare := s.key("acme")
			a := v.attacks(s.keyID(spare))[i]
			before := len(s.events("acme", v.ID))
			got, err := s.try(a.method, a.path, w.secret, a.body, a.headers...)
			if err != nil {
				t.Fatal(err)
			}
			cells++
			want := w.want(a, v)
			if w.name == "owner" && a.name == "get" && !strings.Contains(got.body, secretWord) {
				t.Fatal("the matrix would not see a leak")
			}
			if got.StatusCode != want && (want != 401 || got.StatusCode != 429) { // many bad logins are limited
				t.Errorf("%s, %s: %d, want %d: %s", w.name, a.name, got.StatusCode, want, got.body)
			}
			if hidden := w.client == "umbra" || w.job != "" && w.job != v.ID; want == 403 || want == 404 && hidden {
				s.likeAbsent(w, a, v, got)
			}
			mine := w.client == "acme" && want < 300
			learned := strings.Contains(got.body, secretWord) || strings.Contains(got.body, v.Lease.Token) ||
				strings.Contains(got.body, "file.txt")
			if w.client == "umbra" && want < 300 { // its own jobs have the same words in them
				learned = strings.Contains(got.body, v.ID) || strings.Contains(got.body, "acme") ||
					strings.Contains(got.body, v.Lease.Token) || strings.Contains(got.body, batch[0]) || got.Header.Get("Idempotent-Replayed") != ""
			}
			changed := len(s.events("acme", v.ID)) != before
			if !mine && want != 409 && (learned || changed) {
				leaks++
				t.Errorf("%s, %s: %d, learned %v, changed %v: %s", w.name, a.name, got.StatusCode, learned, changed, got.body)
			}
			if _, err := s.service.Cancel(t.Context(), "acme", v.ID); err != nil && want >= 400 && want != 409 {
				t.Errorf("%s, %s: the job has ended: %v", w.name, a.name, err)
			}
			if a.name == "revoke" && !mine && s.call("GET", "/v1/jobs", spare, "").StatusCode != 200 {
				t.Errorf("%s revoked a key", w.name)
			}
		}
	}
	t.Logf("%d cells, %d leaks", cells, leaks)
}

func TestTokens(t *testing.T) {
	s := newSite(t)
	id := s.call("POST", "/v1/jobs", s.plain, someJob).job(t, 202).ID
	var made struct {
		Token     string
		ExpiresAt time.Time
		JobID     *string
	}
	before := time.Now()
	a := s.call("POST", "/v1/tokens", s.watcher, `{"jobId":"`+strings.ToUpper(id)+`","ttl":60}`)
	if err := json.Unmarshal([]byte(a.body), &made); err != nil || a.StatusCode != 201 || made.JobID == nil || *made.JobID != id {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	if left := made.ExpiresAt.Sub(before); left < 58*time.Second || left > 61*time.Second {
		t.Errorf("it lives %v", left)
	}
	path := "/v1/jobs/" + id
	for _, place := range []string{"Authorization: Bearer " + made.Token, "X-API-Key: " + made.Token} {
		s.call("GET", path, "", "", place).job(t, 200)
	}
	for _, query := range []string{"?apiKey=", "?token="} {
		s.call("GET", path+query+made.Token, "", "").job(t, 200)
	}
	if a := s.call("GET", path+"?token="+made.Token, s.plain, ""); a.StatusCode != 400 {
		t.Errorf("two credentials: %d", a.StatusCode)
	}
	if a := s.call("POST", "/v1/tokens", s.plain, ""); !strings.Contains(a.body, `"jobId":null`) {
		t.Errorf("%s", a.body)
	}
	for body, pointer := range map[string]string{
		`{"ttl":59}`: "/ttl", `{"ttl":86401}`: "/ttl", `{"ttl":"1h"}`: "/ttl", `{"scopes":["work"]}`: "/scopes", `{"jobId":7}`: "/jobId",
	} {
		p := s.call("POST", "/v1/tokens", s.plain, body).problem(t, "invalid")
		if len(p.Errors) != 1 || p.Errors[0].Pointer != pointer {
			t.Errorf("%s: %v", body, p.Errors)
		}
	}
	s.call("POST", "/v1/tokens", s.plain, `{"jobId":"nonsense"}`).problem(t, "not_found")
	s.call("POST", "/v1/tokens", s.submitter, "").problem(t, "forbidden")
	if strings.Contains(s.log.String(), made.Token) {
		t.Error("a token is in the log")
	}
	if j, err := s.store.Get(t.Context(), "acme", id); err != nil || j.Status != jobs.Pending {
		t.Errorf("%+v, %v", j, err)
	}
}

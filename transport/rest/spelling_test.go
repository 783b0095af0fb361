package rest

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/transport"
)

// Upper case in an id and percent-encoding in a path change nothing about what a
// request means; braces and `urn:uuid:` make no id.
func TestSpellings(t *testing.T) {
	s := newSite(t)
	id := s.call("POST", "/v1/jobs", s.plain, someJob).job(t, 202).ID
	upper, hyphens := strings.ToUpper(id), strings.ReplaceAll(id, "-", "%2D")
	for _, path := range []string{"/v1/jobs/" + upper, "/v1/jobs/" + hyphens, "/v1/%6a%6Fbs/" + strings.ToUpper(hyphens)} {
		if j := s.call("GET", path, s.watcher, "").job(t, 200); j.ID != id {
			t.Errorf("%s: %s", path, j.ID)
		}
	}
	digits := strings.ReplaceAll(id, "-", "")
	for _, wrong := range []string{"%7B" + id + "%7D", "urn:uuid:" + id, digits, strings.ReplaceAll(id, "-", "%252D"), id + "%2F"} {
		s.call("GET", "/v1/jobs/"+wrong, s.watcher, "").problem(t, transport.NotFound)
		s.call("POST", "/v1/jobs/"+wrong+"/cancel", s.plain, "").problem(t, transport.NotFound)
	}
	s.call("GET", "/v1/jobs%2F"+id, s.watcher, "").problem(t, transport.NotFound)

	next := s.call("POST", "/v1/jobs", s.plain, someJob).job(t, 202).ID
	list := s.call("GET", "/v1/jobs?after="+strings.ToUpper(next), s.watcher, "")
	if list.StatusCode != 200 || !strings.HasPrefix(list.body, `{"jobs":[{"id":"`+id) {
		t.Errorf("after an id in upper case: %d %s", list.StatusCode, list.body)
	}
	for _, wrong := range []string{"{" + id + "}", "urn:uuid:" + id, digits} {
		s.call("GET", "/v1/jobs?after="+wrong, s.watcher, "").problem(t, transport.Invalid)
		s.call("POST", "/v1/tokens", s.plain, `{"jobId":"`+wrong+`"}`).problem(t, transport.NotFound)
	}
	var made struct{ Token, JobID string }
	a := s.call("POST", "/v1/tokens", s.plain, `{"jobId":"`+upper+`"}`)
	if err := json.Unmarshal([]byte(a.body), &made); err != nil || made.JobID != id {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	for _, path := range []string{id, upper, hyphens} {
		s.call("GET", "/v1/jobs/"+path, made.Token, "").job(t, 200)
	}
	s.call("GET", "/v1/jobs/"+strings.ToUpper(next), made.Token, "").problem(t, transport.NotFound)

	// Spelled otherwise, it is still the same request.
	s.call("POST", "/v1/jobs/"+upper+"/cancel", s.plain, "").job(t, 200)
	again := s.call("POST", "/v1/jobs/"+id+"/retry", s.plain, "", "Idempotency-Key: k").job(t, 202)
	b := s.call("POST", "/v1/jobs/"+strings.ToUpper(hyphens)+"/retry", s.plain, "", "Idempotency-Key: k")
	if b.job(t, 202).ID != again.ID || b.Header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("a retry in another spelling is another: %s", b.body)
	}
}

// What a worker writes by one spelling is read by the other; the names of artifacts
// and the ids of keys are case sensitive.
func TestSpellingsOfWorkers(t *testing.T) {
	s := newSite(t)
	g := s.running()
	mine := g
	mine.ID = strings.ToUpper(g.ID)
	if a := s.as(mine, "progress", `{"progress":5}`); a.StatusCode != 200 {
		t.Errorf("progress: %d %s", a.StatusCode, a.body)
	}
	// A body that is larger than any but an upload's: the path has to be known for one.
	big := strings.Repeat("x", transport.DefaultMaxBody+1)
	a, err := s.put(mine, "%52eport%2d1.txt", "text/plain", strings.NewReader(big))
	path := "/v1/jobs/" + g.ID + "/artifacts/Report-1.txt"
	if err != nil || a.StatusCode != http.StatusCreated || a.Header.Get("Location") != path {
		t.Fatalf("%v %d %s %v", err, a.StatusCode, a.body, a.Header)
	}
	if a := s.call("GET", "/v1/jobs/"+mine.ID+"/%61rtifacts/Report%2D1.txt", s.watcher, ""); a.body != big {
		t.Errorf("read back: %d, %d bytes", a.StatusCode, len(a.body))
	}
	for _, name := range []string{"report-1.txt", "Report%252D1.txt"} {
		s.call("GET", "/v1/jobs/"+g.ID+"/artifacts/"+name, s.watcher, "").problem(t, transport.NotFound)
	}
	for _, name := range []string{"a%2Fb", "a%252Db", "%2E", "%2e%2E"} {
		if a, err := s.put(g, name, "", strings.NewReader("x")); err != nil || a.StatusCode != 422 {
			t.Errorf("%s: %v %d", name, err, a.StatusCode)
		}
	}
	id := s.keyID(s.key("acme", auth.Watch))
	s.call("DELETE", "/v1/keys/"+strings.ToUpper(id), s.admin, "").problem(t, transport.NotFound)
	if a := s.call("DELETE", fmt.Sprintf("/v1/keys/%%%X%s", id[0], id[1:]), s.admin, ""); a.StatusCode != http.StatusNoContent {
		t.Errorf("revoke: %d %s", a.StatusCode, a.body)
	}
}

// A header that is a list may come in several lines; of another one, two lines have
// to say the same.
func TestHeadersInSeveralLines(t *testing.T) {
	s := newSite(t)
	a := s.call("POST", "/v1/jobs", s.plain, someJob, "Prefer: respond-async", "Prefer: wait=1", "Content-Type: application/json", "Content-Type: application/json")
	if a.job(t, 202); a.Header.Get("Preference-Applied") != "wait=1" {
		t.Errorf("the second line is not read: %v", a.Header)
	}
	for _, tt := range []struct {
		headers []string
		want    transport.Code
	}{
		{[]string{"Content-Encoding: identity", "Content-Encoding: gzip"}, transport.UnsupportedMediaType},
		{[]string{"Idempotency-Key: a", "Idempotency-Key: b"}, transport.Malformed},
	} {
		s.call("POST", "/v1/jobs", s.plain, someJob, tt.headers...).problem(t, tt.want)
	}
	if n := s.count(); n != 1 {
		t.Errorf("%d jobs", n)
	}
	g := s.claim()
	path := "/v1/jobs/" + g.ID + "/artifacts/x"
	upload := func(lines string) string {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer %s\r\nContent-Length: 1\r\n%s\r\n\r\nx", path, s.plain, lines)
		answer, err := io.ReadAll(conn)
		if err != nil {
			t.Fatal(err)
		}
		return string(answer)
	}
	lease := "X-Lease-Token: " + g.Lease.Token
	for _, lines := range []string{lease + "\r\nX-Lease-Token: other", lease + "\r\nContent-Type: text/plain\r\nContent-Type: text/csv"} {
		if got := upload(lines); !strings.Contains(got, `"code":"malformed"`) {
			t.Errorf("%q: %s", lines, got)
		}
	}
	if got := upload(lease + "\r\nContent-Encoding: identity\r\nContent-Encoding: gzip"); !strings.Contains(got, `"code":"unsupported_media_type"`) {
		t.Errorf("a compressed upload: %s", got)
	}
	if got := upload(lease + "\r\nContent-Type: text/plain\r\nContent-Type: text/plain"); !strings.HasPrefix(got, "HTTP/1.1 201") {
		t.Errorf("the same twice: %s", got)
	}
	tag := s.call("GET", path, s.watcher, "").Header.Get("ETag")
	if a := s.call("GET", path, s.watcher, "", `If-None-Match: "other"`, "If-None-Match: "+tag); a.StatusCode != http.StatusNotModified {
		t.Errorf("the second line is not read: %d", a.StatusCode)
	}
}

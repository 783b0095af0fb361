package rest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
)

// put uploads an artifact as a worker does.
func (s *site) put(g given, name, contentType string, body io.Reader, headers ...string) (answer, error) {
	req, err := http.NewRequest(http.MethodPut, "http://"+s.addr+"/v1/jobs/"+g.ID+"/artifacts/"+name, body)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+s.plain)
	req.Header.Set("X-Lease-Token", g.Lease.Token)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for _, h := range headers {
		key, value, _ := strings.Cut(h, ": ")
		req.Header.Set(key, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	return answer{res, string(data)}, err
}

func (s *site) mustPut(g given, name, contentType, body string) answer {
	s.t.Helper()
	a, err := s.put(g, name, contentType, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

func (s *site) running() given {
	s.t.Helper()
	s.call("POST", "/v1/jobs", s.plain, someJob).job(s.t, 202)
	return s.claim()
}

func TestArtifact(t *testing.T) {
	s := newSite(t)
	g := s.running()
	path := "/v1/jobs/" + g.ID + "/artifacts/report-1.txt"
	a := s.mustPut(g, "report-1.txt", "text/plain; charset=utf-8", "0123456789")
	var made jobs.Artifact
	if err := json.Unmarshal([]byte(a.body), &made); err != nil || a.StatusCode != 201 || a.Header.Get("Location") != path ||
		made != (jobs.Artifact{Name: "report-1.txt", Size: 10, ContentType: "text/plain; charset=utf-8", URL: path}) {
		t.Fatalf("%d %s %v", a.StatusCode, a.body, a.Header)
	}
	digest := sha256.Sum256([]byte("0123456789"))
	tag := `"` + hex.EncodeToString(digest[:16]) + `"`
	if got := a.Header.Get("ETag"); got != tag {
		t.Errorf("the upload's ETag is %s", got)
	}
	get := s.call("GET", path, s.watcher, "")
	modified, long := get.Header.Get("Last-Modified"), "Mon, 02 Jan 2006 15:04:05 GMT"
	if at, err := http.ParseTime(modified); err != nil || time.Since(at) < 0 {
		t.Errorf("Last-Modified %q: %v", modified, err)
	}
	if get.StatusCode != 200 || get.body != "0123456789" {
		t.Errorf("%d %q", get.StatusCode, get.body)
	}
	for name, want := range map[string]string{
		"Content-Type": "text/plain; charset=utf-8", "Etag": tag, "Accept-Ranges": "bytes",
		"Cache-Control": "private, no-cache", "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox",
		"Content-Disposition": `inline; filename="report-1.txt"`, "Content-Length": "10",
	} {
		if got := get.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	head := s.call("HEAD", path, s.watcher, "")
	if head.StatusCode != 200 || head.body != "" || head.ContentLength != 10 || head.Header.Get("ETag") != tag {
		t.Errorf("HEAD: %d %q %v", head.StatusCode, head.body, head.Header)
	}
	for _, tt := range []struct {
		header, body, contentRange string
		status                     int
	}{
		{"Range: bytes=2-4", "234", "bytes 2-4/10", 206}, {"Range: bytes=7-", "789", "bytes 7-9/10", 206},
		{"Range: bytes=-3", "789", "bytes 7-9/10", 206}, {"Range: bytes=-30", "0123456789", "bytes 0-9/10", 206},
		{"Range: bytes=5-99", "56789", "bytes 5-9/10", 206}, {"Range: BYTES=2-4,", "234", "bytes 2-4/10", 206},
		{"Range: bytes=4-2", "0123456789", "", 200},
		{"Range: bytes=0-1,4-5", "0123456789", "", 200}, {"Range: lines=1-2", "0123456789", "", 200},
		{"Range: bytes=99999999999999999999-", "0123456789", "", 200},
		{"If-None-Match: " + tag, "", "", 304}, {`If-None-Match: "x", W/` + tag, "", "", 304}, {"If-None-Match: *", "", "", 304},
		{`If-None-Match: "x"`, "0123456789", "", 200},
		{"If-Match: " + tag, "0123456789", "", 200}, {"If-Match: *", "0123456789", "", 200},
		{"If-Modified-Since: " + modified, "", "", 304}, {"If-Modified-Since: " + long, "0123456789", "", 200},
		{"If-Unmodified-Since: " + modified, "0123456789", "", 200},
	} {
		a := s.call("GET", path, s.watcher, "", tt.header)
		if a.StatusCode != tt.status || a.body != tt.body || a.Header.Get("Content-Range") != tt.contentRange {
			t.Errorf("%s: %d %q %q", tt.header, a.StatusCode, a.body, a.Header.Get("Content-Range"))
		}
	}
	for _, tt := range []struct {
		headers []string
		want    transport.Code
	}{
		{[]string{"Range: bytes=10-"}, transport.RangeNotSatisfiable}, {[]string{"Range: bytes=-0"}, transport.RangeNotSatisfiable},
		{[]string{`If-Match: "x"`}, transport.PreconditionFailed}, {[]string{"If-Match: W/" + tag}, transport.PreconditionFailed},
		{[]string{"If-Unmodified-Since: " + long}, transport.PreconditionFailed},
		// 412 comes before 304, and both before 416.
		{[]string{`If-Match: "x"`, "If-None-Match: " + tag, "Range: bytes=10-"}, transport.PreconditionFailed},
		{[]string{"If-Match: " + tag, `If-None-Match: "x"`, "Range: bytes=10-", "If-Range: " + tag}, transport.RangeNotSatisfiable},
	} {
		a := s.call("GET", path, s.watcher, "", tt.headers...)
		a.problem(t, tt.want)
		if want := map[bool]string{true: "bytes */10"}[tt.want == transport.RangeNotSatisfiable]; a.Header.Get("Content-Range") != want || a.Header.Get("ETag") != tag {
			t.Errorf("%q: %v", tt.headers, a.Header)
		}
		if head := s.call("HEAD", path, s.watcher, "", tt.headers...); tt.want == transport.PreconditionFailed && head.StatusCode != 412 {
			t.Errorf("HEAD %q: %d", tt.headers, head.StatusCode)
		}
	}
	if a := s.call("GET", path, s.watcher, "", "If-None-Match: "+tag, "Range: bytes=10-"); a.StatusCode != 304 || a.Header.Get("ETag") != tag {
		t.Errorf("304 comes before 416: %d %v", a.StatusCode, a.Header)
	}
	if a := s.call("GET", path, s.watcher, "", `If-Range: "x"`, "Range: bytes=10-"); a.StatusCode != 200 {
		t.Errorf("a range of other bytes: %d", a.StatusCode)
	}
	s.call("GET", path+"x", s.watcher, "", "If-Match: *", "If-None-Match: *").problem(t, transport.NotFound)
	s.call("GET", path, s.submitter, "", `If-Match: "x"`).problem(t, transport.Forbidden)
	for ifRange, want := range map[string]int{tag: 206, `"x"`: 200, "Mon, 01 Jan 2026 00:00:00 GMT": 200} {
		if a := s.call("GET", path, s.watcher, "", "Range: bytes=0-0", "If-Range: "+ifRange); a.StatusCode != want {
			t.Errorf("If-Range %s: %d, want %d", ifRange, a.StatusCode, want)
		}
	}
	done := s.as(g, "complete", "")
	if !strings.Contains(done.body, `"artifacts":[{"name":"report-1.txt","size":10,`) {
		t.Errorf("%s", done.body)
	}
	story := s.events("acme", g.ID)
	if !strings.HasPrefix(story[2], `job.artifact {"name":"report-1.txt","size":10,"contentType":"text/plain; charset=utf-8","url":"`+path+`"}`) ||
		!strings.Contains(story[3], `"artifacts":[{"name":"report-1.txt"`) {
		t.Errorf("%q", story)
	}
}

// What can run in a browser is only ever saved by it.
func TestActiveArtifacts(t *testing.T) {
	s := newSite(t)
	g := s.running()
	for name, tt := range map[string][2]string{ // what is said of it; what becomes of that
		"a.html": {"text/html", "attachment"}, "a.svg": {"image/svg+xml", "attachment"}, "a.xml": {"text/xml", "attachment"},
		"a.pdf": {"application/pdf", "attachment"}, "a.png": {"image/png", "inline"}, "a.js": {"text/javascript", "attachment"},
	} {
		s.mustPut(g, name, tt[0], "<script>alert(1)</script>")
		a := s.call("GET", "/v1/jobs/"+g.ID+"/artifacts/"+name, s.watcher, "")
		if got := a.Header.Get("Content-Disposition"); got != tt[1]+`; filename="`+name+`"` ||
			a.Header.Get("X-Content-Type-Options") != "nosniff" || a.Header.Get("Content-Security-Policy") != "sandbox" {
			t.Errorf("%s: %q as %s", name, got, a.Header.Get("Content-Type"))
		}
	}
	if a := s.call("GET", "/v1/jobs/"+g.ID+"/artifacts/a.js", s.watcher, ""); a.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("an unknown type becomes %s", a.Header.Get("Content-Type"))
	}
}

// An upload far larger than any other body is streamed to disk; one that is too
// large is refused; every other route keeps its limit.
func TestLargeUploads(t *testing.T) {
	s := newSite(t)
	g := s.running()
	big := bytes.Repeat([]byte("0123456789abcdef"), 3<<16) // 3 MiB
	for i, wrap := range []func(io.Reader) io.Reader{
		func(r io.Reader) io.Reader { return r },
		func(r io.Reader) io.Reader { return io.MultiReader(r) }, // of unknown length: in chunks
	} {
		name := fmt.Sprint("big", i)
		for _, expect := range []string{"", "100-continue"} {
			a, err := s.put(g, name, "", wrap(bytes.NewReader(big)), "Expect: "+expect)
			if err != nil || a.StatusCode != 201 {
				t.Fatalf("%s: %v %d %s", name, err, a.StatusCode, a.body)
			}
		}
		if a := s.call("GET", "/v1/jobs/"+g.ID+"/artifacts/"+name, s.watcher, ""); a.body != string(big) {
			t.Errorf("%s came back as %d bytes", name, len(a.body))
		}
	}
	a, err := s.put(g, "huge", "", struct{ io.Reader }{io.LimitReader(zeros{}, jobs.MaxArtifactBytes+1)})
	if err != nil {
		t.Fatal(err)
	}
	a.problem(t, transport.TooLarge)
	s.refusedAtOnce(g, jobs.MaxArtifactBytes+1, transport.TooLarge)
	for _, path := range []string{"/v1/jobs", "/v1/jobs/" + g.ID + "/progress", "/v1/workers/claim", "/v1/workers/complete"} {
		body := `{"x":"` + strings.Repeat("x", transport.DefaultMaxBody) + `"}`
		a, err := s.try("POST", path, s.plain, body, "X-Lease-Token: "+g.Lease.Token)
		if err == nil { // the refusal may overtake the body
			a.problem(t, transport.TooLarge)
		}
	}
	entries, err := os.ReadDir(filepath.Join(s.dir, "artifacts"))
	if err != nil || len(entries) != 2 { // the replaced ones have gone at once
		t.Errorf("%d files, %v", len(entries), err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// refusedAtOnce: a refusal that needs no body does not wait for it, and arrives
// although nobody reads what was sent of the body: no reset overtakes it.
func (s *site) refusedAtOnce(g given, length int, want transport.Code) {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "PUT /v1/jobs/%s/artifacts/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"+
		"X-Lease-Token: %s\r\nContent-Length: %d\r\n\r\n%s", g.ID, s.plain, g.Lease.Token, length, strings.Repeat("x", 64<<10))
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(answer), `"code":"`+string(want)+`"`) {
		s.t.Errorf("%q, %v", answer, err)
	}
}

func TestArtifactRefused(t *testing.T) {
	s := newSite(t, func(_ *Deps, l *auth.Limits) { l.Waits = 1 })
	g := s.running()
	for _, name := range []string{"a%2Fb", "..%2Fx", "a b", "%2e%2e", strings.Repeat("n", 129), "%00"} {
		a, err := s.put(g, strings.ReplaceAll(name, " ", "%20"), "", strings.NewReader("x"))
		if err != nil || (a.StatusCode != 422 && a.StatusCode != 404) {
			t.Errorf("%s: %v %d", name, err, a.StatusCode)
		}
	}
	lost := g
	lost.Lease.Token = "wrong"
	if a := s.mustPut(lost, "x", "", "x"); a.StatusCode != 409 || !strings.Contains(a.body, `"jobStatus":"processing"`) {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if a, _ := s.put(g, "x", "", strings.NewReader("x"), "Content-Encoding: gzip"); a.StatusCode != 415 {
		t.Errorf("compressed: %d", a.StatusCode)
	}
	path := "/v1/jobs/" + g.ID + "/artifacts/x"
	s.call("PUT", path, s.watcher, "x", "X-Lease-Token: "+g.Lease.Token).problem(t, transport.Forbidden)
	s.call("PUT", path, s.plain, "x").problem(t, transport.Invalid)
	s.call("GET", path, s.plain, "").problem(t, transport.NotFound)
	s.call("GET", path, s.submitter, "").problem(t, transport.Forbidden)
	s.call("POST", path, s.plain, "").problem(t, transport.MethodNotAllowed)
	claim := s.park(30)
	s.refusedAtOnce(g, 1<<20, transport.ConnectionLimit)
	_ = claim.Close()
	s.until("the slot is free", func() bool { return s.streams.Waiting(s.keyID(s.plain)) == 0 })
	for i := range jobs.MaxArtifacts {
		if a := s.mustPut(g, fmt.Sprint("n", i), "", "x"); a.StatusCode != 201 {
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
	}
	s.mustPut(g, "one-more", "", "x").problem(t, transport.Conflict)
	if a := s.mustPut(g, "n7", "", "again"); a.StatusCode != 201 {
		t.Errorf("replacing: %d %s", a.StatusCode, a.body)
	}
}

// An upload that breaks off leaves nothing behind.
func TestBrokenUpload(t *testing.T) {
	s := newSite(t)
	g := s.running()
	for _, framing := range []string{"Content-Length: 100000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\nfff0\r\n"} {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "PUT /v1/jobs/%s/artifacts/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nX-Lease-Token: %s\r\n%s%s",
			g.ID, s.plain, g.Lease.Token, framing, strings.Repeat("x", 20000))
		_ = conn.(*net.TCPConn).CloseWrite()
		answer, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") {
			t.Errorf("%.100q, %v", answer, err)
		}
		_ = conn.Close()
	}
	entries, err := os.ReadDir(filepath.Join(s.dir, "artifacts"))
	if err != nil || len(entries) != 0 || len(s.events("acme", g.ID)) != 2 {
		t.Errorf("left: %v %v, %q", entries, err, s.events("acme", g.ID))
	}
}

// A conditional upload replaces what its sender has seen, or nothing. A lost lease
// counts first, and nobody learns by it what is there.
func TestConditionalUploads(t *testing.T) {
	s := newSite(t)
	g := s.running()
	path := "/v1/jobs/" + g.ID + "/artifacts/x"
	put := func(body string, headers ...string) answer {
		a, err := s.put(g, "x", "text/plain", strings.NewReader(body), headers...)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	holds := func(want string) {
		t.Helper()
		if a := s.call("GET", path, s.watcher, ""); a.body != want {
			t.Errorf("it holds %q, want %q", a.body, want)
		}
	}
	put("0", "If-Match: *").problem(t, transport.PreconditionFailed)
	first := put("1", "If-None-Match: *")
	if first.StatusCode != 201 {
		t.Fatalf("%d %s", first.StatusCode, first.body)
	}
	tag := first.Header.Get("ETag")
	for _, headers := range [][]string{
		{"If-None-Match: *"}, {"If-None-Match: " + tag}, {`If-Match: "x"`}, {"If-Match: W/" + tag},
		{"If-Unmodified-Since: Mon, 02 Jan 2006 15:04:05 GMT"}, {"If-Match: " + tag, "If-None-Match: *"},
	} {
		put("2", headers...).problem(t, transport.PreconditionFailed)
		holds("1")
	}
	for i, headers := range [][]string{{"If-Match: " + tag}, {"If-Match: *"}, {"If-None-Match: " + tag}, {"If-Modified-Since: " + time.Now().UTC().Format(http.TimeFormat)}} {
		body := fmt.Sprint("new", i)
		if a := put(body, headers...); a.StatusCode != 201 {
			t.Errorf("%q: %d %s", headers, a.StatusCode, a.body)
		}
		holds(body)
	}
	put("2", "If-Match: "+tag).problem(t, transport.PreconditionFailed)
	holds("new3")
	lost := g
	lost.Lease.Token = "wrong"
	if a, err := s.put(lost, "x", "", strings.NewReader("y"), `If-Match: "x"`); err != nil || a.StatusCode != 409 {
		t.Errorf("a lost lease: %v %d", err, a.StatusCode)
	}
}

// Of uploads that race with the same condition, one is taken.
func TestRacingUploads(t *testing.T) {
	s := newSite(t)
	g := s.running()
	const racers = 8
	ready, statuses := make(chan struct{}, racers), make(chan int, racers)
	begin := make(chan struct{})
	for i := range racers {
		go func() {
			r, w := io.Pipe()
			go func() {
				fmt.Fprint(w, i)
				ready <- struct{}{}
				<-begin
				w.Close()
			}()
			a, err := s.put(g, "x", "", r, "If-None-Match: *")
			if err != nil {
				t.Error(err)
				statuses <- 0
				return
			}
			statuses <- a.StatusCode
		}()
	}
	for range racers {
		<-ready
	}
	close(begin)
	count := map[int]int{}
	for range racers {
		count[<-statuses]++
	}
	if count[201] != 1 || count[412] != racers-1 {
		t.Errorf("%v", count)
	}
}

// A PUT of a part is refused (RFC 9110 14.5): curl -C sends one. The artifact stays.
func TestPartialUploads(t *testing.T) {
	s := newSite(t)
	g := s.running()
	s.mustPut(g, "x", "", "0123456789")
	for _, rng := range []string{"bytes 5-9/10", "bytes 5-9/*", "bytes */10", "lines 1-2/3", "nonsense"} {
		a, err := s.put(g, "x", "", strings.NewReader("56789"), "Content-Range: "+rng)
		if err != nil {
			t.Fatal(err)
		}
		a.problem(t, transport.Malformed)
	}
	if a := s.call("GET", "/v1/jobs/"+g.ID+"/artifacts/x", s.watcher, ""); a.body != "0123456789" {
		t.Errorf("%q", a.body)
	}
	s.call("PUT", "/v1/jobs", s.plain, "x", "Content-Range: bytes 0-0/1").problem(t, transport.Malformed)
	s.call("POST", "/v1/jobs", s.plain, someJob, "Content-Range: bytes 0-0/1").job(t, 202)
}

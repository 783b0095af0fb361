package client_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/jobcast/jobcast/client"
)

// What a handler uploads can be fetched as it was, also when the line was cut in
// the middle of an upload.
func TestArtifacts(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	p := startProxy(t, s.address)
	var cuts atomic.Int32
	p.meddle = func(_ int, down, up net.Conn) bool {
		var line []byte
		for !bytes.HasSuffix(line, []byte("\n")) {
			one := make([]byte, 1)
			if _, err := down.Read(one); err != nil {
				return true
			}
			line = append(line, one...)
		}
		_, _ = up.Write(line)
		if bytes.Contains(line, []byte("big.bin")) && cuts.Load() < 2 {
			cuts.Add(1) // connections of the worker's handler, one after the other
			_, _ = io.CopyN(up, down, 10_000)
			return true
		}
		return false
	}
	big := bytes.Repeat([]byte{0, 1, 2, 255}, 125_000)
	files := map[string]struct {
		content io.Reader
		want    string
		kind    string
	}{
		"big.bin":  {bytes.NewReader(big), string(big), "application/octet-stream"},
		"page.txt": {iotest.HalfReader(strings.NewReader("of no known length")), "of no known length", "text/plain; charset=utf-8"},
		"empty":    {strings.NewReader(""), "", "text/plain; charset=utf-8"}, // the server looks into what has no telling name
	}
	late := make(chan *client.Attempt, 1)
	each := &http.Transport{DisableKeepAlives: true} // a connection for each request
	c := s.client(p.serve(), client.Options{HTTPClient: &http.Client{Transport: each}})
	run(t, client.Worker{Client: c, Queues: []string{"q"}, Handle: func(_ context.Context, a *client.Attempt) (any, error) {
		for _, name := range []string{"big.bin", "page.txt", "empty"} {
			made, err := a.Artifact(name, files[name].content)
			if err != nil {
				return nil, err
			}
			if made.Name != name || made.Size != int64(len(files[name].want)) || made.ContentType != files[name].kind || made.URL == "" {
				t.Errorf("artifact %+v", made)
			}
		}
		if _, err := a.Artifact("no name", strings.NewReader("x")); !errors.Is(err, client.ErrInvalid) {
			t.Errorf("no name: %v", err)
		}
		late <- a
		return nil, nil
	}})
	direct := s.client("", client.Options{})
	id := queued(t, direct, client.Submission{MaxAttempts: 1})
	got := story(t, direct, id)
	if d := cmp.Diff([]string{"created", "started", "artifact", "artifact", "artifact", "completed {}"}, got); d != "" {
		t.Fatal(d)
	}
	if cuts.Load() != 2 {
		t.Errorf("%d uploads were cut", cuts.Load())
	}
	job, err := direct.Get(t.Context(), id)
	if err != nil || len(job.Artifacts) != 3 {
		t.Fatalf("%+v, %v", job, err)
	}
	for _, a := range job.Artifacts {
		if text := fetch(t, s, a.URL); text != files[a.Name].want {
			t.Errorf("%s has %d bytes, want %d", a.Name, len(text), len(files[a.Name].want))
		}
	}
	if _, err := (<-late).Artifact("late", strings.NewReader("x")); err == nil {
		t.Error("an artifact after the end")
	}
	if err := (&client.Attempt{Job: job}).Log("x"); err == nil {
		t.Error("an attempt that nobody runs has a log")
	}
}

func fetch(t *testing.T, s *server, path string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.address()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d, %v", path, resp.StatusCode, err)
	}
	return string(text)
}

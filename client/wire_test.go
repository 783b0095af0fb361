package client_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/jobcast/jobcast/client"
)

// What is a time.Duration here is milliseconds on the wire; zero is left out,
// and nothing else becomes zero.
func TestSubmissionOnTheWire(t *testing.T) {
	for name, tc := range map[string]struct {
		s    client.Submission
		want string
	}{
		"zero": {client.Submission{}, `{}`},
		"all": {client.Submission{
			Queue: "q", Payload: "p", MaxAttempts: 2, Timeout: 90 * time.Second, RunAt: time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC),
			ExpiresIn: time.Hour, Priority: -3, Metadata: map[string]any{"a": "b"}, IdempotencyKey: "k",
		}, `{"queue":"q","payload":"p","maxAttempts":2,"runAt":"2027-01-02T03:04:05Z","priority":-3,"metadata":{"a":"b"},"timeoutMs":90000,"expiresInMs":3600000}`},
		"state":       {client.Submission{State: &client.BrowserState{Use: "a", Origins: []string{"https://a.test"}}}, `{"state":{"use":"a","origins":["https://a.test"]}}`},
		"a fraction":  {client.Submission{Timeout: 1_000_001 * time.Microsecond}, `{"timeoutMs":1001}`},
		"almost zero": {client.Submission{Timeout: 1, ExpiresIn: -1}, `{"timeoutMs":1,"expiresInMs":-1}`},
		"body":        {client.Submission{Queue: "q", Body: json.RawMessage(`{"queue":"r"}`)}, `{"queue":"r"}`},
		"wait":        {client.Submission{Actions: []any{client.Wait(time.Second)}}, `{"actions":[{"type":"wait","ms":1000}]}`},
	} {
		text, err := json.Marshal(tc.s)
		if d := cmp.Diff(tc.want, string(text)); d != "" || err != nil {
			t.Errorf("%s: %v %s", name, err, d)
		}
		var back client.Submission
		if err := json.Unmarshal(text, &back); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if tc.s.Actions != nil {
			continue // an action that was read is a map
		}
		if again, err := json.Marshal(back); err != nil || string(again) != tc.want {
			t.Errorf("%s: read again it is %s, %v", name, again, err)
		}
	}
}

// A job has Go's types; null is zero. Written again it is the same job.
func TestJobOnTheWire(t *testing.T) {
	text := `{"id":"1","status":"pending","queue":null,"timeoutMs":300000,"runAt":null,"progress":null,"error":null,"createdAt":"2027-01-02T03:04:05Z","new":1}`
	var j client.Job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		t.Fatal(err)
	}
	want := client.Job{ID: "1", Status: client.Pending, Timeout: 5 * time.Minute, CreatedAt: time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)}
	same := cmp.Options{cmpopts.IgnoreUnexported(client.Job{}), cmpopts.EquateEmpty()}
	if d := cmp.Diff(want, j, same); d != "" {
		t.Error(d)
	}
	if string(j.Raw()) != text {
		t.Errorf("raw: %s", j.Raw())
	}
	again, err := json.Marshal(map[string]any{"job": j, "pointer": &j})
	if err != nil {
		t.Fatal(err)
	}
	var back map[string]*client.Job
	if err := json.Unmarshal(again, &back); err != nil {
		t.Fatal(err)
	}
	null := cmp.Transformer("null", func(m json.RawMessage) string { // an absent raw message is written as null
		if string(m) == "null" {
			return ""
		}
		return string(m)
	})
	for name, got := range back {
		if d := cmp.Diff(j, *got, same, null); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// The server reads what is written, and answers with the same times.
func TestTimesAndTheServer(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.client("", client.Options{})
	at := time.Now().Add(time.Hour).Truncate(time.Second)
	j := submit(t, c, client.Submission{Queue: "q", Timeout: 1500 * time.Millisecond, RunAt: at, ExpiresIn: time.Minute})
	if j.Timeout != 1500*time.Millisecond || !j.RunAt.Equal(at) || !j.ExpiresAt.Equal(at.Add(time.Minute)) || j.Queue != "q" || !j.StartedAt.IsZero() || j.Progress != nil {
		t.Errorf("%s", j.Raw())
	}
	if j = submit(t, c, waits(1)); j.Timeout != 5*time.Minute || j.MaxAttempts != 3 || !j.ExpiresAt.IsZero() || j.Queue != "" {
		t.Errorf("the defaults are not those of the comments: %s", j.Raw())
	}
}

package jobs

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func batchOptions() BatchOptions { return BatchOptions{SubmitOptions: submitOptions(), MaxJob: 100} }

// inBatch is a batch of submits as JSON, and as NDJSON.
func inBatch(submits ...string) (array, lines []byte) {
	return []byte(` {"jobs":[` + strings.Join(submits, " , ") + `]}`), []byte(strings.Join(submits, "\n"))
}

// TestParseBatch: each job of a batch is what it is when it is submitted alone.
func TestParseBatch(t *testing.T) {
	deep := `{"queue":"q","payload":` + strings.Repeat("[", 63) + strings.Repeat("]", 63) + `}`
	bodies := []string{
		`{"queue":"q"}`, ` { "actions" : [ {"type":"ok"} ] } `, `{"queue":"p","payload":{ "a": 1 },"metadata":{"k": 1}}`, deep,
		`{"queue":"q","maxAttempts":1,"timeoutMs":1000,"runAt":"2026-06-01T00:00:00Z","expiresInMs":1000,"priority":-7}`,
	}
	o := batchOptions()
	o.MaxJob = 200
	var want []Spec
	for _, body := range bodies {
		spec, err := ParseSubmit([]byte(body), o.SubmitOptions)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, spec)
	}
	array, lines := inBatch(bodies...)
	parsed := func(got []Spec, err error) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
	gotArray, errArray := ParseBatch(array, o)
	gotLines, errLines := ParseBatchLines(lines, o)
	for _, body := range [][]byte{array, lines} { // they share no memory with it
		for i := range body {
			body[i] = 'X'
		}
	}
	parsed(gotArray, errArray)
	parsed(gotLines, errLines)
	_, lines = inBatch(bodies...)
	parsed(ParseBatchLines([]byte("\n \t\r\n"+strings.ReplaceAll(string(lines), "\n", "\r\n\r\n")+"\n\n"), o))
}

// faultsOf returns the pointers of a refusal.
func faultsOf(t *testing.T, _ []Spec, err error) string {
	t.Helper()
	var invalid *InvalidError
	if !errors.As(err, &invalid) {
		t.Errorf("%v is no refusal", err)
		return ""
	}
	pointers := make([]string, len(invalid.Fields))
	for i, f := range invalid.Fields {
		pointers[i] = f.Pointer
	}
	return strings.Join(pointers, " ")
}

func TestParseBatchCollectsFaults(t *testing.T) {
	const good = `{"queue":"q"}`
	check := func(want, got string) {
		t.Helper()
		if got != want {
			t.Errorf("faults at %q, want %q", got, want)
		}
	}
	for _, c := range []struct {
		want string
		jobs []string
	}{
		{"/jobs/1", []string{good, `{}`, good}},
		{"/jobs/0 /jobs/2 /jobs/3", []string{`7`, good, `null`, `[]`}},
		{"/jobs/0/timeoutMs /jobs/0/zz /jobs/0/queue /jobs/2/actions/1/type", []string{`{"queue":"Q","zz":1,"timeoutMs":1.5}`, good, `{"actions":[{"type":"ok"},{"type":"no"}]}`}},
		{"/jobs/1", []string{good, `{"queue":"Q","payload":"` + strings.Repeat("x", 100) + `"}`}},
		{"/jobs", strings.Split(strings.Repeat(`{"queue":"Q"} `, MaxBatch)+good, " ")},
		{"/jobs/999/queue", strings.Split(strings.Repeat(good+" ", MaxBatch-1)+`{"queue":""}`, " ")},
	} {
		array, lines := inBatch(c.jobs...)
		got, err := ParseBatch(array, batchOptions())
		check(c.want, faultsOf(t, got, err))
		got, err = ParseBatchLines(lines, batchOptions())
		check(c.want, faultsOf(t, got, err))
	}
	for body, want := range map[string]string{
		`{}`: "/jobs", `{"jobs":[]}`: "/jobs", `{"jobs":null}`: "/jobs", `{"jobs":{}}`: "/jobs", `[` + good + `]`: "", `null`: "",
		`{"b":1,"jobs":[{}],"a":2}`: "/jobs/0 /a /b", `{"jobs":[],"a":1}`: "/jobs /a", `{"Jobs":[` + good + `]}`: "/jobs /Jobs",
	} {
		got, err := ParseBatch([]byte(body), batchOptions())
		check(want, faultsOf(t, got, err))
	}
	for _, body := range []string{"", "\n \n"} {
		got, err := ParseBatchLines([]byte(body), batchOptions())
		check("/jobs", faultsOf(t, got, err))
	}
	array, _ := inBatch(strings.Split(strings.Repeat(`{"queue":"","a":1} `, MaxBatch-1)+good, " ")...)
	_, err := ParseBatch(array, batchOptions())
	var invalid *InvalidError
	if !errors.As(err, &invalid) || len(invalid.Fields) != maxFieldErrors || len(err.Error()) > 20000 {
		t.Errorf("%d bytes of error", len(err.Error()))
	}
}

func TestParseBatchTellsMalformed(t *testing.T) {
	const good = `{"queue":"q"}`
	for body, want := range map[string]string{
		``: "the text ends where a value is expected at byte 0", `{"jobs":[` + good + `]}x`: "text after the JSON value at byte 24",
		`{"jobs":[` + good + `],"jobs":[]}`:                              "duplicate member name in an object at byte 24",
		`{"jobs":[{},{"queue":]}`:                                        "unexpected ']' where a value is expected at byte 21",
		`{"jobs":[` + strings.Repeat(good+",", MaxBatch) + `{"queue"}]}`: fmt.Sprintf("unexpected '}' after a member name at byte %d", 9+MaxBatch*14+8),
	} {
		var malformed *MalformedError
		if _, err := ParseBatch([]byte(body), batchOptions()); !errors.As(err, &malformed) || err.Error() != want {
			t.Errorf("%.40s: %v, want %s", body, err, want)
		}
	}
	for body, want := range map[string]string{
		"{}\n\n{\"queue\":}\n":              "unexpected '}' where a value is expected at byte 9 of line 3",
		good + "\n{\n\"queue\":\"q\"}":      "the text ends where a member name is expected at byte 2 of line 2",
		good + " " + good:                   "text after the JSON value at byte 14 of line 1",
		good + "\n" + good[:11] + "\xff\"}": "not UTF-8 at byte 11 of line 2",
		good + "\nnull\n{\"queue\":\"q\",\"payload\":" + strings.Repeat("[", 64) + "1": "nested deeper than 64 at byte 86 of line 3",
	} {
		var malformed *MalformedError
		if _, err := ParseBatchLines([]byte(body), batchOptions()); !errors.As(err, &malformed) || err.Error() != want {
			t.Errorf("%.40q: %v, want %s", body, err, want)
		}
	}
}

// FuzzParseBatch: a batch is what its jobs are alone, as NDJSON and as JSON.
func FuzzParseBatch(f *testing.F) {
	for _, s := range []string{
		"{\"queue\":\"q\"}\n{\"actions\":[{\"type\":\"ok\"}]}\r\n\n", "{\"queue\":\"Q\"}\n{\"x\":{\"a\":[1,{}]}}", "{}\n{", "[]\n7 \nnull", "{\"queue\":\"q\",\"payload\":\"\xff\"}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		o := batchOptions()
		o.MaxJob = len(body)
		var alone []Spec
		var texts []string
		line, faulty, n := 0, false, 0 // line: the first malformed one
		for text := range bytes.Lines(body) {
			n++
			if len(bytes.Trim(text, " \t\r\n")) == 0 {
				continue
			}
			spec, err := ParseSubmit(text, o.SubmitOptions)
			var malformed *MalformedError
			if errors.As(err, &malformed) {
				line = n
				break
			}
			faulty = faulty || err != nil
			alone, texts = append(alone, spec), append(texts, string(text))
		}
		if len(texts) > MaxBatch { // TestParseBatch has that
			return
		}
		got, err := ParseBatchLines(body, o)
		var malformed *MalformedError
		var invalid *InvalidError
		if errors.As(err, &malformed) != (line > 0) || line > 0 && malformed.Line != line {
			t.Fatalf("%q: %v, want line %d", body, err, line)
		}
		if line > 0 {
			return
		}
		array, _ := inBatch(texts...)
		gotArray, errArray := ParseBatch(array, o)
		if diff := cmp.Diff(err, errArray); diff != "" {
			t.Fatalf("%q (-lines +JSON):\n%s", body, diff)
		}
		if errors.As(err, &invalid) != (faulty || len(texts) == 0) {
			t.Fatalf("%q: %v", body, err)
		}
		if err == nil && (cmp.Diff(alone, got) != "" || cmp.Diff(alone, gotArray) != "") {
			t.Fatalf("%q is %+v, and as JSON %+v, want %+v", body, got, gotArray, alone)
		}
	})
}

package jobs

import (
	"encoding/json"
	"testing"
)

// A job that is whole is shown as it would be if it were abridged.
func TestShown(t *testing.T) {
	queue := "q"
	j := Job{ID: "1", Queue: &queue, Payload: json.RawMessage(`{"a":"<"}`), Artifacts: []Artifact{}, Cursor: "0-0"}
	want, err := encode(Abridged{j})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := encode(j.Shown()); err != nil || string(got) != string(want) {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
	j.Omitted = []string{"payload"}
	if _, ok := j.Shown().(Abridged); !ok {
		t.Error("a job that lacks members is shown as one that has them")
	}
}

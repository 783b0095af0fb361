package jobs_test

import (
	"context"
	"encoding/json"
	"slices"
	"testing"

	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/jobs/vault"
)

// confiding is a runner whose second action names a secret that is there and one that is gone.
type confiding struct{ runner }

func (confiding) Secrets(raw json.RawMessage) []jobs.SecretUse {
	if string(raw) != `{"type":"second"}` {
		return nil
	}
	return []jobs.SecretUse{{Pointer: "/x", Name: "gone"}, {Pointer: "/y", Name: "tea"}}
}

// The secrets of a job are known from the first action of each attempt on, as they are then.
func TestSecretsOfJobs(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		v, err := vault.Open(t.Context(), r.store, [32]byte{1})
		if err != nil {
			t.Fatal(err)
		}
		put := func(value string) {
			if _, _, err := v.PutSecret(t.Context(), "a", "tea", jobs.Secret{Value: value}); err != nil {
				t.Error(err)
			}
		}
		put("tea & biscuits")
		r.svc = jobs.NewService(r.store, jobs.ServiceOptions{Vault: v})
		told := make(chan string, 10)
		p := jobs.NewProcessor(r.svc, confiding{func(_ context.Context, kind string, env jobs.Env) (any, error) {
			told <- kind + " " + env.Redactor.Text("tea & biscuits, coffee")
			if kind == "second" && env.Attempt == 1 {
				put("coffee")
				return nil, &jobs.ActionError{Class: "X", Message: "again", Retryable: true}
			}
			return nil, nil
		}}, jobs.ProcessorOptions{Browsers: 1})
		p.Start()
		t.Cleanup(func() {
			over, cancel := context.WithCancel(context.Background())
			cancel()
			_ = p.Stop(over)
		})
		spec := actions("first", "second")
		spec.Browser, spec.MaxAttempts = true, 2
		id := r.submit(t, "a", spec)
		var got []string
		for range 4 {
			got = append(got, <-told)
		}
		want := []string{"first ***, coffee", "second ***, coffee", "first tea & biscuits, ***", "second tea & biscuits, ***"}
		if settle(); !slices.Equal(got, want) || r.get(t, "a", id).Status != jobs.Completed {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

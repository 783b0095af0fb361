package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// pagers submit jobs in a browser, each over a connection of its own.
type pagers struct {
	*site
	set   *settings
	steps []string
	conns []*conn
}

// jobcastPages measures jobcast.
func jobcastPages(ctx context.Context, set *settings, program, url string) (row, error) {
	open := openJobcast("--browser="+program, fmt.Sprintf("--browsers=%d", set.parallel+1), fmt.Sprintf("--concurrency=%d", 2*set.parallel), "--allow-private-addresses")
	return withSite(ctx, set, target{name: "jobcast", open: open}, 0, func(s *site) (r row, err error) {
		p := &pagers{site: s, set: set, steps: tenSteps(url)}
		if p.conns, err = dialAll(ctx, s.addr.String(), set.parallel); err != nil {
			return r, err
		}
		defer closeAll(p.conns)
		if _, err := (crowd{set.parallel, maxSpan, set.parallel}).run(ctx, p.job); err != nil { // starts the browser
			return r, err
		}
		took, err := p.run(ctx)
		if err != nil {
			return r, err
		}
		if took.held, took.idle, err = p.hold(ctx); err != nil {
			return r, err
		}
		return took.row("jobcast", set.parallel), nil
	})
}

// run measures all jobs.
func (p *pagers) run(ctx context.Context) (took pagesTook, err error) {
	before, err := cpuOf(p.process)
	if err != nil {
		return took, err
	}
	l, err := crowd{p.set.parallel, maxSpan, p.set.pages}.run(ctx, p.job)
	if err != nil {
		return took, err
	}
	after, err := cpuOf(p.process)
	return pagesTook{
		Ended: l.steps, TookMs: millis(l.took), P50Ms: millis(l.latency.quantile(0.5)), P99Ms: millis(l.latency.quantile(0.99)), cpu: after - before,
	}, err
}

// submit submits a job of some actions and returns the answer.
func (p *pagers) submit(w int, actions []string, want int, headers ...string) ([]byte, error) {
	body := `{"maxAttempts":1,"actions":[` + strings.Join(actions, ",") + `]}`
	return p.conns[w].do(request("POST", "/v1/jobs", p.addr.String(), p.key, body, headers...), want)
}

// job is one job, from its submit to its end.
func (p *pagers) job(_ context.Context, w int) error {
	answer, err := p.submit(w, p.steps, http.StatusOK, "Prefer: wait=25")
	if err == nil && !bytes.Contains(answer, []byte(`"rows":["Ada","green","agreed"]`)) {
		err = fmt.Errorf("the job came to nothing: %.600s", answer)
	}
	return err
}

// hold returns the memory with a context open in each of as many jobs as run at a time,
// all steps done, and the memory when they are closed.
func (p *pagers) hold(ctx context.Context) (held, idle int64, err error) {
	ids := make([]string, len(p.conns))
	actions := slices.Concat(p.steps, []string{`{"type":"wait","ms":250000}`})
	for w := range p.conns {
		answer, err := p.submit(w, actions, http.StatusAccepted)
		if err != nil {
			return 0, 0, err
		}
		ids[w] = string(member(answer, idMember))
	}
	waiting := fmt.Sprintf(`"message":"Executing action %d of %d: wait"`, len(actions), len(actions))
	for w, id := range ids {
		if err := p.await(ctx, w, "/v1/jobs/"+id, waiting); err != nil {
			return 0, 0, err
		}
	}
	if held, err = restingMemory(ctx, p.set, p.process); err != nil {
		return 0, 0, err
	}
	for w, id := range ids {
		if _, err := p.conns[w].do(request("POST", "/v1/jobs/"+id+"/cancel", p.addr.String(), p.key, ""), http.StatusOK); err != nil {
			return 0, 0, err
		}
	}
	if err := p.await(ctx, 0, "/readyz?verbose", `"contexts":0,`); err != nil {
		return 0, 0, err
	}
	idle, err = restingMemory(ctx, p.set, p.process)
	return held, idle, err
}

// await reads what is at a path until it has a text.
func (p *pagers) await(ctx context.Context, w int, path, text string) error {
	var answer []byte
	for end := time.Now().Add(sayTime); time.Now().Before(end) && ctx.Err() == nil; sleepUntil(ctx, time.Now().Add(20*time.Millisecond)) {
		var err error
		if answer, err = p.conns[w].do(request("GET", path, p.addr.String(), p.key, ""), http.StatusOK); err != nil {
			return err
		}
		if bytes.Contains(answer, []byte(text)) {
			return nil
		}
	}
	return errors.Join(ctx.Err(), fmt.Errorf("%s did not come to %s: %.600s", path, text, answer))
}

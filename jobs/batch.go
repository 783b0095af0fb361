package jobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// MaxBatch is how many jobs one batch has at most. It bounds the transaction that makes
// them, which all others wait for.
const MaxBatch = 1000

// Batch is the outcome of SubmitBatch.
type Batch struct {
	IDs      []string      // of its jobs, in the order in which they were asked for
	Replayed bool          // an earlier call with the same key made them
	Expires  time.Duration // unless Replayed: how long until the first of them expires; 0: none does
}

// BatchOptions is what ParseBatch and ParseBatchLines must know of their surroundings.
type BatchOptions struct {
	SubmitOptions
	MaxJob int // bytes that the text of each job may have
}

// ParseBatch reads the body of a batch, {"jobs":[…]} with 1 to MaxBatch bodies of submits,
// each of which is read as ParseSubmit reads it. It returns *MalformedError if body is not
// strict JSON, *InvalidError with the faults of all jobs; the pointers of the i-th begin with
// /jobs/i. The caller has bounded the size of body; the Specs share no memory with it.
func ParseBatch(body []byte, o BatchOptions) ([]Spec, error) {
	p := batchParser{o: o}
	p.decoder = decoder{checker: checker{b: body, maxDepth: MaxJSONDepth}}
	err := p.body()
	if err == nil {
		err = p.end()
	}
	if err != nil {
		return nil, err
	}
	return p.result()
}

// ParseBatchLines is ParseBatch for NDJSON: each line is the body of a submit. Lines of
// white space alone are passed over. A *MalformedError names the line.
func ParseBatchLines(body []byte, o BatchOptions) ([]Spec, error) {
	p := batchParser{o: o}
	n := 0
	for line := range bytes.Lines(body) {
		n++
		p.decoder = decoder{checker: checker{b: line, maxDepth: MaxJSONDepth}}
		if p.space(); p.i == len(line) {
			continue
		}
		err := p.job()
		if err == nil {
			err = p.end()
		}
		var malformed *MalformedError
		if errors.As(err, &malformed) {
			malformed.Line = n
		}
		if err != nil {
			return nil, err
		}
	}
	if p.n == 0 {
		p.wrongNumber()
	}
	return p.result()
}

// batchParser reads a batch, job after job.
type batchParser struct {
	decoder // of the text at hand; its faults are those of the job at hand
	o       BatchOptions
	specs   []Spec
	n       int    // jobs so far
	wrong   faults // of the whole batch
}

// body reads {"jobs":[…]}.
func (p *batchParser) body() error {
	p.space()
	if ok, err := p.opened('{', "must be an object", "", 0); !ok {
		p.wrong.addAll(p.cut(0))
		return err
	}
	has := false
	var unknown sortedFaults
	err := p.members(func(name string, _ bool) error {
		if name != "jobs" {
			unknown.set(name, []FieldError{{PointerTo("", name), "unknown member"}})
			return p.pass(1)
		}
		has = true
		return p.list()
	})
	if !has {
		p.wrong.add("/jobs", "is required")
	}
	for _, f := range unknown {
		p.wrong.addAll(f.list)
	}
	return err
}

// list reads the jobs.
func (p *batchParser) list() error {
	if ok, err := p.opened('[', "must be an array", "/jobs", 1); !ok {
		p.wrong.addAll(p.cut(0))
		return err
	}
	for first := true; ; first = false {
		more, err := p.item(first)
		if err == nil && !more && first {
			p.wrongNumber()
		}
		if err != nil || !more {
			return err
		}
		if err := p.job(); err != nil {
			return err
		}
	}
}

// job reads one job. It may be as deep as one that is submitted alone. Of those beyond
// MaxBatch only the text is checked.
func (p *batchParser) job() error {
	p.n++
	if p.n > MaxBatch {
		return p.pass(0)
	}
	p.faults = faults{}
	var in submitBody
	begin := p.i
	if err := p.decode(reflect.ValueOf(&in).Elem(), "", 0); err != nil {
		return err
	}
	if p.i-begin > p.o.MaxJob {
		p.faults = faults{}
		p.addf("", "must not be larger than %d bytes", p.o.MaxJob)
	} else {
		p.specs = append(p.specs, p.spec(in, p.o.SubmitOptions))
	}
	at := "/jobs/" + strconv.Itoa(p.n-1)
	for _, f := range p.cut(0) {
		p.wrong.add(at+f.Pointer, f.Detail)
	}
	return nil
}

func (p *batchParser) wrongNumber() { p.wrong.addf("/jobs", "must have 1 to %d jobs", MaxBatch) }

// result is what was read, unless something is wrong with it.
func (p *batchParser) result() ([]Spec, error) {
	if p.n > MaxBatch {
		p.wrong = faults{}
		p.wrongNumber()
	}
	if err := p.wrong.err(); err != nil {
		return nil, err
	}
	return p.specs, nil
}

// SubmitBatch makes jobs of specs, which ParseBatch has validated: all of them or none, by
// one commit. With a key that was used before for the same, it returns the ids of those
// that were made then.
func (s *Service) SubmitBatch(ctx context.Context, client string, specs []Spec, idem Idempotency) (Batch, error) {
	ids, size := make([]string, len(specs)), 0
	for i, spec := range specs {
		id, err := uuid.NewV7()
		if err != nil {
			return Batch{}, fmt.Errorf("make job id: %w", err)
		}
		ids[i] = id.String()
		size += spec.Size()
	}
	if err := s.entrusted(ctx, client, func(i int) string { return "/jobs/" + strconv.Itoa(i) }, specs...); err != nil {
		return Batch{}, err
	}
	weight := weigh(len(specs), size)
	if err := s.throttle.enter(ctx, client, weight); err != nil {
		return Batch{}, err
	}
	defer s.throttle.leave(client, weight)
	b, err := s.store.SubmitBatch(ctx, client, ids, specs, idem)
	if !b.Replayed && (err == nil || !refused(err)) { // it may have been committed
		s.announceBatch(client, specs, b.Expires, err)
	}
	return b, err
}

// announceBatch is announce for a batch. Whoever waits for jobs is woken once. If the fate
// of its commit is unknown, so is when the first of its jobs expires, and a sweep looks.
func (s *Service) announceBatch(client string, specs []Spec, expires time.Duration, unknown error) {
	dated := false
	ready := make(map[Source]struct{})
	for _, spec := range specs {
		dated = dated || !spec.RunAt.IsZero()
		ready[SourceIn(client, spec.Queue)] = struct{}{}
	}
	if expires > 0 || unknown != nil {
		s.expiries.within(expires)
	}
	if dated {
		s.due.within(0)
	}
	for from := range ready {
		s.ready.notify(from)
	}
}

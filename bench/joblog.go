package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"time"
)

// jobLog is one stream of everything that a client's jobs tell, read as it comes by
// a goroutine that Close ends. What it saw is read after that.
type jobLog struct {
	story []string // the types of the events of each job, in order
	nc    net.Conn

	live  chan struct{} // closed when the history is done
	moved chan struct{} // ended has grown; one is enough
	ended atomic.Int64  // jobs whose story is told
	over  chan struct{} // closed when nothing more is read
	err   error         // why, if not by Close; set before over is closed

	seq           uint64 // of the newest event
	jobs          map[string]*jobStory
	kind, job     spot
	lost, doubled uint64
}

// jobStory is what one job has told.
type jobStory struct {
	told         int       // events of the story, those that were skipped included
	end          time.Time // when the last one was read
	acknowledged bool
}

func newJobLog(story []string) *jobLog {
	return &jobLog{
		story: story, live: make(chan struct{}), moved: make(chan struct{}, 1), over: make(chan struct{}),
		jobs: make(map[string]*jobStory),
	}
}

// watchJobs opens the stream and returns when it is live.
func (s *site) watchJobs(ctx context.Context, story []string) (*jobLog, error) {
	c, err := dial(ctx, s.addr.String())
	if err != nil {
		return nil, err
	}
	l := newJobLog(story)
	l.nc = c.Conn
	go l.read()
	if _, err = l.nc.Write(request("GET", "/v1/events", s.addr.String(), s.key, "", "Accept: text/event-stream")); err == nil {
		select {
		case <-l.live:
			return l, nil
		case <-l.over:
			err = l.err
		case <-time.After(requestTime):
			err = errors.New("it does not become live")
		}
	}
	l.Close()
	return nil, fmt.Errorf("watch jobs: %w", err)
}

// Close ends the stream. It may be called twice.
func (l *jobLog) Close() {
	_ = l.nc.Close()
	<-l.over
}

func (l *jobLog) read() {
	defer close(l.over)
	var dec sseDecoder
	buf := make([]byte, 64<<10)
	for {
		n, err := l.nc.Read(buf)
		now := time.Now()
		decoding := dec.feed(buf[:n], func(f frame) { l.see(f, now) })
		if l.err = errors.Join(decoding, err); l.err != nil {
			return
		}
	}
}

// see checks and counts one frame, which was read at the time now.
func (l *jobLog) see(f frame, now time.Time) {
	if len(f.name) > 0 {
		if string(f.name) == "live" {
			close(l.live)
		}
		return
	}
	if f.seq <= l.seq {
		l.doubled++
		return
	}
	l.lost += f.seq - l.seq - 1
	l.seq = f.seq
	id := l.job.member(f.data, `"jobId":"`)
	j := l.jobs[string(id)]
	if j == nil {
		j = &jobStory{}
		l.jobs[string(id)] = j
	}
	kind := l.kind.member(f.data, typeMember)
	skipped := slices.Index(l.story[j.told:], string(kind))
	if skipped < 0 {
		l.doubled++
		return
	}
	l.lost += uint64(skipped)
	if j.told += skipped + 1; j.told < len(l.story) {
		return
	}
	j.end = now
	l.ended.Add(1)
	select {
	case l.moved <- struct{}{}:
	default:
	}
}

// await returns when n jobs have ended in all, or when none did for long: what is
// missing then is counted as lost.
func (l *jobLog) await(ctx context.Context, n int) error {
	idle := time.NewTimer(catchUpTime)
	defer idle.Stop()
	for l.ended.Load() < int64(n) {
		select {
		case <-l.moved:
			idle.Reset(catchUpTime)
		case <-idle.C:
			return nil
		case <-l.over:
			return fmt.Errorf("the stream of jobs ended: %w", l.err)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// jobsTally is what came of the jobs that were submitted.
type jobsTally struct {
	latency       histogram     // from the submit of a job that is measured to its end
	took          time.Duration // from the first of these submits to the last end
	lost, doubled uint64
}

// tally compares what was acknowledged with what was told: of each job the whole
// story, of other jobs nothing.
func (l *jobLog) tally(made [][]submission) *jobsTally {
	t := &jobsTally{lost: l.lost, doubled: l.doubled}
	var first, last time.Time
	for _, sub := range slices.Concat(made...) {
		if !sub.at.IsZero() && (first.IsZero() || sub.at.Before(first)) {
			first = sub.at
		}
		for _, id := range sub.ids {
			j := l.jobs[id]
			switch {
			case j == nil:
				t.lost += uint64(len(l.story))
				continue
			case j.acknowledged:
				t.doubled++
				continue
			}
			j.acknowledged = true
			t.lost += uint64(len(l.story) - j.told)
			if sub.at.IsZero() || j.end.IsZero() {
				continue
			}
			t.latency.add(j.end.Sub(sub.at))
			if j.end.After(last) {
				last = j.end
			}
		}
	}
	t.took = last.Sub(first)
	for _, j := range l.jobs {
		if !j.acknowledged {
			t.doubled++
		}
	}
	return t
}

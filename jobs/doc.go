// Package jobs is the vocabulary and the rules of work: what a job is, which
// events tell its story, who may change it, and how it is run.
//
// Words used everywhere in this program:
//
//   - client: the tenant. It owns keys, jobs and one log.
//   - job: a piece of work, either a list of actions that jobcast runs itself
//     or a payload in a named queue that the client's own workers claim.
//   - action: one step of a job. attempt: one run of a job from its start.
//   - lease: the right of one worker to report on a job, proved by a token.
//   - event: one change of a job. log: all events of one client in order,
//     numbered 1, 2, 3, … without a gap. cursor: a place in a log.
//
// A job moves through these states; every arrow is one event, committed in the
// same transaction as the new state:
//
//	          job.created
//	               │
//	               ▼        job.started
//	┌─────────▶ pending ───────────────────▶ processing ──┐ job.progress
//	│              │                           │ │ │  ▲   │ job.log
//	│              │ job.cancelled             │ │ │  └───┘ job.artifact
//	│              ▼                           │ │ │
//	│          cancelled ◀─────────────────────┘ │ └────▶ completed
//	│                                            ├──────▶ failed
//	└────────────── job.retrying ◀───────────────┘
//
// completed, failed and cancelled are terminal: a job has exactly one terminal
// event and nothing after it. A retry on request makes a new job.
package jobs

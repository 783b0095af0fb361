// Package client speaks with a jobcast server: it submits jobs, watches them
// live and runs workers.
//
//	c, err := client.New(client.Options{URL: "https://jobs.example.com", Key: key})
//	job, events, err := c.SubmitAndWatch(ctx, client.Submission{
//		Queue: "resize", Payload: map[string]any{"width": 300},
//	}, client.WatchOptions{})
//	for e, err := range events { … } // ends with the job
//
// In all options and submissions zero means the default that the field's comment
// names. Times are a [time.Duration] or a [time.Time]. Lists and watches are
// iterators: range over them, and break where you like. An error is the last
// thing they yield.
//
// # Watching
//
// A [Client.Watch] connects over WebSocket, and over SSE or long-polls where that
// does not get through. When the connection is lost it comes back by itself, after
// waits that grow from 100 ms to 10 s or that the server asks for, and goes on
// behind the last event that it gave out: its reader sees each event once and in
// order. To go on after a restart of your own program, keep [Event.ID] together
// with what you made of the event, and give it as WatchOptions.After. When the
// server no longer has the events that follow, the reader gets an [EventReset] in
// their place, never a silent gap.
//
// # Retries
//
// Calls that are safe to repeat are repeated while the server cannot be reached or
// says that it is busy, for Options.GiveUp, 1 min unless set. A submit is safe: it
// carries an Idempotency-Key, so that the repeats make one job. To be safe over a
// crash of your own program too, set Submission.IdempotencyKey to something of
// yours, such as the number of an order. Not repeated are CreateKey, and the upload
// of a reader that cannot seek. A watch and a worker go on [Forever], unless their
// own GiveUp is set.
//
// # Workers
//
// A [Worker] takes the jobs of queues and calls its Handle with an [Attempt]: the
// job, and the methods Progress, Log and Artifact. It keeps the job's lease while
// Handle runs. The context of Handle ends when the job is cancelled, when the
// lease is lost, when the time is over or when the worker stops; [context.Cause]
// says which. A job whose worker was lost is given to another one, so Handle may
// run more than once for one job.
//
// # Errors
//
// The server's refusals are a [*Problem], found by [errors.As]. To branch, use
// [errors.Is] with [ErrNotFound], [ErrConflict], [ErrInvalid], [ErrJobLimit] and
// the others beside them. A [*LostError] says that GiveUp is over; when ctx ends,
// the error is its cause.
//
// The package knows none of the server's packages; the wire contract is
// docs/protocol.md.
package client

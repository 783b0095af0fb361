// Package client speaks with a jobcast server: it submits jobs, watches them
// live over whichever transport gets through, and runs workers.
//
// Every call may be cut at any time. Calls that are safe to repeat are
// repeated, and a submit is made safe by an Idempotency-Key. A watch resumes
// behind the last event that it gave out, on every transport, so its reader
// sees each event once and in order; should the server no longer have the
// events that follow, the reader gets an [EventReset] in their place and never
// a silent gap.
//
// The package knows none of the server's packages; the wire contract is
// docs/protocol.md.
package client

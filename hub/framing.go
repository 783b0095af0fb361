package hub

import "sync/atomic"

// Framing is a wire form of events: one transport's bytes for an event, built once and
// shared by all connections that send it.
type Framing struct {
	slot  int
	build func(*Event) []byte
}

// framings counts the wire forms. It grows only while the program starts.
var framings int

// NewFraming registers a wire form. Transports do so in package variables: events that
// exist before a form is registered have no place to keep it.
func NewFraming(build func(*Event) []byte) *Framing {
	framings++
	return &Framing{slot: framings - 1, build: build}
}

// Of returns the event's bytes in this form, and builds them on first use. Two callers may
// race to build; both results are equal and one is kept. The bytes are shared and must not
// be changed.
func (f *Framing) Of(e *Event) []byte {
	if f.slot >= len(e.frames) { // an event that no hub gave out
		return f.build(e)
	}
	if kept := e.frames[f.slot].Load(); kept != nil {
		return *kept
	}
	bytes := f.build(e)
	e.frames[f.slot].Store(&bytes)
	return bytes
}

// frames are the wire forms of one event that were built, by slot.
type frames []atomic.Pointer[[]byte]

// Package transporttest is the one conformance suite of all transports: the
// same scenarios, with the same expectations, on every protocol that streams
// events, over real TCP and in fake time.
//
// A scenario is written against two seams. Server is the program under test,
// booted whole by whoever calls Run. Transport is a protocol as its clients
// speak it; a new protocol joins the suite by implementing that one type.
//
// What was committed is never read back from the server: a Log keeps what the
// writers were told at the time, and what a reader got is compared with that.
package transporttest

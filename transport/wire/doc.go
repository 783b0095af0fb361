// Package wire owns connections that have left the HTTP server: event streams
// for as long as they last, and long-poll requests while they are parked and, if
// their stream takes the next one too, for as long as they follow each other.
//
// The rules that make it safe and cheap:
//
//   - One owner. Take detaches the socket from the HTTP server, whose own
//     objects are pooled and may belong to somebody else a moment later. From
//     then on only this package reads, writes and closes it.
//   - Two parties per connection. A reader goroutine, while there is something to
//     read, which notices at once when the peer goes; and, while there is something
//     to send, one of a few sender workers. An idle connection has neither
//     a buffer nor a goroutine. The watch tells when there is something to read, and
//     reads the next request of a parked connection itself.
//   - One write for all that is queued. A worker asks the stream to fill its
//     buffer, writes without blocking, and puts the connection back in the queue
//     if there is more, so that no connection starves the others.
//   - Lagging is no fault, stalling is. If the socket is full, a temporary
//     goroutine waits for it; if it takes no byte for StallTimeout it is closed.
//   - A panic in a stream ends that connection, never the process.
//
// What is sent on a connection (Conn.send) comes through these phases. Only a worker's
// turn, and the goroutine that it leaves with a full socket, is sending:
//
//	idle ── Wake ──▶ queued ── turn ──▶ sending ── settle: all is written ──▶ idle, or queued if it was woken
//	                                       │
//	                                       ├── finish: the stream wanted its end ──▶ flushed ──▶ closed
//	                                       └── an error, or the reader has ended ──▶ failed ───▶ closed
//
// Sending becomes again when it is woken, and is queued next. An idle or queued
// connection fails when its reader ends. Whoever closes calls Stream.Closed.
//
// Who reads (Conn.reader) is independent of that. The reader that finds the peer's end,
// or the socket closed by kill, is the one that cleans up:
//
//	reading ◀── goIdle: there is nothing to read ──▶ idle
//	   │        resumeReading: there is, or it ends
//	   └── end ──▶ ended
//
// A parked connection is also between requests or not (parking.phase):
//
//	waiting ── answer: the peer may go on ──▶ between ── its next request: Repeater, or back to the HTTP server
//	   ▲   │                                     │
//	   │   └── answer: it may not ──▶ last       │
//	   └──────── Repeat takes the request ───────┘
package wire

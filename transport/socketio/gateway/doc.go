// Package gateway is the Socket.IO namespace /jobs: job events for the clients of
// the gateway that jobcast replaces, and for new ones.
//
// A session outlives its connections and the process. Its secret (pid) is handed
// out at CONNECT; the offset that clients send back with it is the last string that
// an event ended in: its name, if it has no argument. Offsets and what they mean:
//
//	<cursor>                  everything up to it was received, in all rooms
//	<cursor>.<n>.<seq>        the same, and of the n-th room that was joined the
//	                          history up to seq; later rooms nothing yet
//
// Rooms are kept in the store before their `subscribed` leaves, so that whoever
// has heard of a room finds it again, and until their `end` must have arrived.
package gateway

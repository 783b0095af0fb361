// Package eventlog is the vocabulary of the event log: events, cursors, rooms, and how
// they are read.
//
// Each client has one log, in which every committed change of its jobs has a number: 1,
// 2, 3, … without gaps. A cursor is a place in it, and bears the epoch in which the event
// before it was committed: one client's log in one incarnation of the store. A room is the part of a log that can
// be watched: one job, or all of it. The stores write logs and implement Reader; the hub
// keeps their newest part in memory; the transports send them. All of them share these
// types, and this package knows none of them.
package eventlog

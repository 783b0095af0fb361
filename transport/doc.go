// Package transport is the door that every client protocol shares: who is
// asking and whether it may, which answer format it wants, where its
// subscription starts, and how every refusal looks.
//
// Refusals are checked in one order, so that two transports never disagree:
// malformed credentials, unauthenticated, scope, not found, not acceptable,
// limits, drain. All of them are problems of the one table in errors.go.
//
// Fiber lends its strings and bytes only until the handler returns. Everything
// that this package returns is a copy and may be kept.
package transport

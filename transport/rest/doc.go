// Package rest is the plain HTTP interface: jobs, keys, health and metrics.
// Streams of events are other packages' work; a submit that wants to watch its
// job is handed to one of them.
package rest

// Package engineiotest is a raw client of Engine.IO for tests: single HTTP
// requests and WebSocket frames, so that a test may be as wrong as it likes. It
// also serves a real application, over TCP or in memory for fake time.
package engineiotest

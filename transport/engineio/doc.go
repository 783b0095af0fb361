// Package engineio speaks Engine.IO, protocol version 4: a session that begins
// with HTTP long-polling or WebSocket, and may move from the first to the second
// without losing its place. What a session carries is an [Application].
//
// The wire is that of the official server (engine.io 6) as its clients know it;
// where the protocol document differs from it, the server's ways were kept. Left
// out: protocol 3, JSONP, WebTransport, compression.
package engineio

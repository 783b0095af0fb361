// Package rfc6455 is the server's half of WebSocket (RFC 6455) on connections
// that wire owns: taking a connection over after contrib/websocket's handshake,
// reading a client's frames, writing frames that can be shared.
//
// The library's own frame code is not used, because it pools connections, does
// not check UTF-8, loops over empty fragments and holds buffers that an idle
// connection does not need. No extension is negotiated.
package rfc6455

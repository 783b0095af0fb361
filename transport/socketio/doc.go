// Package socketio speaks Socket.IO, protocol version 5, over Engine.IO sessions:
// namespaces, events, acknowledgements and binary attachments. What a namespace
// does with its peers is a [Namespace].
//
// The wire is that of the official server (socket.io 4) as its clients know it.
package socketio

// transports is what people call the kinds of connections.
export const transports = {
  websocket: "WebSocket", sse: "Server-Sent Events", ndjson: "NDJSON", poll: "Long-poll", socketio: "Socket.IO", screen: "Live picture",
};

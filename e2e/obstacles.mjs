// A proxy on loopback that stands in the way. What it does can be changed while it runs.

import http from "node:http";
import net from "node:net";
import { url } from "./jobcast.mjs";

// obstacle listens until test t ends. `way` says what it does from now on:
//   pass      everything goes through
//   refuse    an upgrade is answered with 400
//   strip     Upgrade and Connection are left out of requests
//   buffer    as refuse, and an event stream is held back until it is whole
//   502       every request is answered so
//   hole      new requests and what is open get no byte any more, and nobody is told
//   cut       each connection is cut after a random number of bytes of its answers
//   idle      a connection on which nothing is sent for idleMs is cut
// `seen` gets one {transport, way} for each request for events.
export async function obstacle(t, way = "pass", { random = Math.random, idleMs = 400, maxBytes = 20_000 } = {}) {
  const self = { way, seen: [], open: new Set() };
  const server = http.createServer((request, response) => {
    const transport = request.headers.accept?.includes("event-stream") ? "sse" : "poll";
    if (request.url.includes("/events")) self.seen.push({ transport, way: self.way });
    if (self.way === "hole") return;
    if (self.way === "502") return response.writeHead(502, { "Content-Type": "text/html" }).end("<h1>Bad gateway</h1>");
    const upstream = http.request(url + request.url, { method: request.method, headers: request.headers }, (answer) => {
      if (self.way === "buffer" && transport === "sse") return answer.resume();
      response.writeHead(answer.statusCode, answer.headers);
      answer.on("data", (chunk) => self.way !== "hole" && response.write(chunk));
      answer.on("end", () => self.way !== "hole" && response.end());
      answer.on("error", () => response.destroy());
      response.flushHeaders();
    });
    upstream.on("error", () => response.destroy());
    response.on("close", () => upstream.destroy());
    request.pipe(upstream);
  });
  server.on("upgrade", (request, socket, head) => {
    self.seen.push({ transport: "websocket", way: self.way });
    socket.on("error", () => {});
    if (self.way === "hole") return;
    if (self.way === "502") return socket.end("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    if (self.way === "refuse" || self.way === "buffer") return socket.end("HTTP/1.1 400 Bad Request\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnope");
    const upstream = net.connect(Number(new URL(url).port), new URL(url).hostname);
    const stripped = self.way === "strip" ? ["upgrade", "connection"] : [];
    let text = `GET ${request.url} HTTP/1.1\r\n`;
    for (let i = 0; i < request.rawHeaders.length; i += 2) {
      if (!stripped.includes(request.rawHeaders[i].toLowerCase())) text += `${request.rawHeaders[i]}: ${request.rawHeaders[i + 1]}\r\n`;
    }
    upstream.write(`${text}\r\n`);
    upstream.write(head);
    socket.on("data", (chunk) => self.way !== "hole" && upstream.write(chunk));
    upstream.on("data", (chunk) => self.way !== "hole" && socket.write(chunk));
    for (const [one, other] of [[socket, upstream], [upstream, socket]]) {
      one.on("error", () => other.destroy());
      one.on("close", () => self.way === "hole" || other.destroy());
    }
    t.after(() => upstream.destroy());
  });
  server.on("connection", (socket) => {
    self.open.add(socket);
    socket.on("close", () => self.open.delete(socket));
    let budget = Math.floor(random() * maxBytes);
    const write = socket.write;
    let timer;
    socket.write = (chunk, ...rest) => { // all that goes to the client comes through here
      if (self.way === "cut") {
        const bytes = Buffer.from(chunk, typeof rest[0] === "string" ? rest[0] : undefined);
        budget -= bytes.length;
        if (budget < 0) {
          write.call(socket, bytes.subarray(0, Math.max(0, bytes.length + budget)), () => socket.destroy());
          return false;
        }
      }
      if (self.way === "idle") {
        clearTimeout(timer);
        timer = setTimeout(() => socket.destroy(), idleMs);
      }
      return write.call(socket, chunk, ...rest);
    };
    socket._writev = null; // http corks: what it has gathered comes through write as well
    socket.on("close", () => clearTimeout(timer));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => new Promise((resolve) => {
    server.close(resolve);
    for (const socket of self.open) socket.destroy();
  }));
  return Object.assign(self, {
    url: `http://127.0.0.1:${server.address().port}`,
    // drop cuts everything that is open.
    drop() { for (const socket of self.open) socket.destroy(); },
  });
}

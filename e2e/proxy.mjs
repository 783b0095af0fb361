// A reverse proxy that counts requests and can cut an answer in two.

import http from "node:http";
import { url } from "./jobcast.mjs";

// proxy listens on a free port of loopback until test t ends. `seen` gets one
// {path, lastEventId, status} for each event request, as soon as the server has
// answered. cut(text) is asked with all that came so far of the first event
// answer; it returns how many characters to let through before the connection
// is cut, or -1 to go on. The connection is cut once heard(), if given, resolves:
// a client loses bytes that a reset overtakes, so a test that counts on them
// waits until the client has them.
export async function proxy(t, cut = () => -1, heard = async () => {}) {
  const seen = [];
  const server = http.createServer((request, response) => {
    const upstream = http.request(url + request.url, { method: request.method, headers: request.headers }, (answer) => {
      const events = request.url.includes("/events");
      const first = events && seen.length === 0;
      if (events) seen.push({ path: request.url, lastEventId: request.headers["last-event-id"], status: answer.statusCode });
      response.writeHead(answer.statusCode, answer.headers);
      if (first) passUntilCut(answer, response, cut, heard);
      else answer.pipe(response);
    });
    upstream.on("error", () => response.destroy());
    response.on("close", () => upstream.destroy());
    request.pipe(upstream);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return { seen, url: `http://127.0.0.1:${server.address().port}` };
}

function passUntilCut(answer, response, cut, heard) {
  let text = "";
  answer.setEncoding("utf8");
  answer.on("end", () => response.end());
  answer.on("data", (chunk) => {
    const passed = text.length;
    text += chunk;
    const at = cut(text);
    if (at < 0) {
      response.write(chunk);
      return;
    }
    answer.pause();
    // The rest of the bytes goes out before the connection is reset.
    response.write(text.slice(passed, Math.max(passed, at)) || ":\n", () => heard().finally(() => response.destroy()));
  });
}

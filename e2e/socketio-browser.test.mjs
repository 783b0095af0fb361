// The client's bundle in Chromium, behind proxies that let no WebSocket through.

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import http from "node:http";
import { test } from "node:test";
import { newPage, until } from "./jobcast.mjs";
import { Server, sameEvents } from "./socketio.mjs";

const bundle = readFileSync(new URL("node_modules/socket.io-client/dist/socket.io.min.js", import.meta.url), "utf8");

// strictProxy forwards requests, but no upgrade: it answers 403, or forwards the
// request as if no upgrade had been asked for.
async function strictProxy(t, server, forbid) {
  // A cut between two polls would break nothing, so the next request of the old session is broken too.
  const it = { refused: 0, severed: false, cut: () => { it.severed = true; proxy.closeAllConnections(); } };
  const forward = (request, response) => {
    if (request.url === "/app") { // the application's own page
      response.writeHead(200, { "Content-Type": "text/html" });
      response.end("<!doctype html><title>app</title>");
      return;
    }
    if (it.severed) {
      it.severed = false;
      if (request.url.includes("sid=")) return response.destroy();
    }
    const { upgrade, connection, ...headers } = request.headers;
    if (upgrade) it.refused++;
    const upstream = http.request(server.url + request.url, { method: request.method, headers, agent: false }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    upstream.on("error", () => response.destroy());
    response.on("close", () => upstream.destroy());
    request.pipe(upstream);
  };
  const proxy = http.createServer(forward);
  if (forbid) {
    proxy.on("upgrade", (request, socket) => {
      it.refused++;
      socket.on("error", () => {}).end("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    });
  }
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  t.after(() => { proxy.closeAllConnections(); proxy.close(); });
  it.url = `http://127.0.0.1:${proxy.address().port}`;
  return it;
}

// watch runs in the page: an application that keeps what it hears.
function watch(url, key) {
  const socket = globalThis.io(`${url}/jobs`, { auth: { token: key }, reconnectionDelay: 50, reconnectionDelayMax: 200 });
  const heard = { ids: [], recovered: [], transports: [], ends: [], upgradeErrors: 0, live: 0 };
  globalThis.heard = heard;
  socket.io.on("open", () => socket.io.engine.on("upgradeError", () => { heard.upgradeErrors++; }));
  socket.on("connect", () => {
    heard.recovered.push(socket.recovered);
    heard.transports.push(socket.io.engine.transport.name);
    if (!socket.recovered) socket.emit("subscribe", {});
  });
  socket.on("job.event", (event) => heard.ids.push(event.id));
  socket.on("live", () => { heard.live++; });
  socket.on("disconnect", (reason) => heard.ends.push(reason));
  globalThis.transport = () => socket.io.engine.transport.name;
}

for (const [how, forbid] of [["answers 403", true], ["drops the header Upgrade", false]]) {
  test(`chromium behind a proxy that ${how}`, async (t) => {
    const server = await Server.start(t);
    const key = await server.key("acme");
    const proxy = await strictProxy(t, server, forbid);
    const page = await newPage(t);
    const faults = [];
    page.on("pageerror", (e) => faults.push(e.message));
    await page.goto(`${proxy.url.replace("127.0.0.1", "localhost")}/app`); // another origin than the server's
    await page.addScriptTag({ content: bundle });
    await page.evaluate(`(${watch})(${JSON.stringify(proxy.url)}, ${JSON.stringify(key)})`);
    const heard = () => page.evaluate(() => globalThis.heard);
    const has = (what, ok) => until(what, async () => ok(await heard()));

    await has("it is live, and the upgrade was refused", (h) => h.live === 1 && h.upgradeErrors >= 1);
    assert.ok(proxy.refused >= 1);
    const job = await server.work(key);
    await job.report(50);
    await has("events", (h) => h.ids.length > 5);
    const reports = job.report(500);
    proxy.cut();
    await reports;
    await has("it is back", (h) => h.recovered.length === 2);
    await server.kill();
    await has("it noticed", (h) => h.ends.length === 2);
    await server.start();
    await job.report(20);
    await has("it is back again", (h) => h.recovered.length === 3);
    await job.complete();

    const log = await server.history(key);
    await has("the end", (h) => h.ids.at(-1) === log.at(-1));
    const all = await heard();
    sameEvents(all.ids, log, how);
    assert.deepEqual(all.recovered, [false, true, true]);
    assert.deepEqual(all.transports, ["polling", "polling", "polling"]);
    assert.equal(await page.evaluate(() => globalThis.transport()), "polling");
    assert.equal(all.live, 1);
    assert.deepEqual(faults, []);
  });
}

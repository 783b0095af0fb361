// Pages of other origins in Chromium that send the browser's credentials along.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { newPage } from "./jobcast.mjs";
import { Server, application } from "./socketio.mjs";

const bundle = readFileSync(new URL("node_modules/socket.io-client/dist/socket.io.min.js", import.meta.url), "utf8");

// use runs in the page: all that an application does with credentials.
async function use(url, key) {
  const heard = [];
  for (const transport of ["polling", "websocket"]) {
    const socket = globalThis.io(`${url}/jobs`, {
      auth: { token: key }, transports: [transport], withCredentials: true, forceNew: true, reconnection: false,
      extraHeaders: transport === "polling" ? { "x-tenant": "acme" } : {}, // with a preflight
    });
    heard.push(await new Promise((resolve) => {
      socket.on("connect", () => socket.emit("subscribe", {}));
      socket.on("subscribed", () => resolve(`${transport} subscribed`));
      for (const event of ["connect_error", "disconnect"]) socket.on(event, (e) => resolve(`${transport} ${e.message ?? e}`));
    }));
    socket.disconnect();
  }
  const ask = (path, headers) => fetch(url + path, { credentials: "include", headers }).then((r) => r.status, () => "blocked");
  heard.push(await ask("/v1/jobs?limit=1", { Authorization: `Bearer ${key}` }), await ask("/v1/jobs"), await ask("/nothing/here"));
  heard.push(await new Promise((resolve) => {
    const source = new EventSource(`${url}/v1/events?apiKey=${key}`, { withCredentials: true });
    source.addEventListener("connected", () => { source.close(); resolve("stream"); });
    source.onerror = () => { source.close(); resolve("blocked"); };
  }));
  return heard;
}

async function heardAt(t, origin, server, key) {
  const page = await newPage(t);
  await page.goto(origin);
  await page.addScriptTag({ content: bundle });
  return page.evaluate(`(${use})(${JSON.stringify(server.url)}, ${JSON.stringify(key)})`);
}

test("chromium, credentials from a listed origin and from another one", async (t) => {
  const [listed, other] = [await application(t), await application(t)];
  const server = await Server.start(t, `--cors-origins=https://elsewhere.example,${listed}`);
  const key = await server.key("acme");
  assert.deepEqual(await heardAt(t, listed, server, key), ["polling subscribed", "websocket subscribed", 200, 401, 404, "stream"]);
  assert.deepEqual(await heardAt(t, other, server, key),
    ["polling xhr poll error", "websocket websocket error", "blocked", "blocked", "blocked", "blocked"]);
});

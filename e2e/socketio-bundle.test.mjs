// The official client's bundles, which the server hands out beside its own path.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { newPage } from "./jobcast.mjs";
import { Server, application } from "./socketio.mjs";

const bundles = ["socket.io.js", "socket.io.min.js", "socket.io.esm.min.js"];

test("the bundles are those of the pinned package, and caches can ask after them", async (t) => {
  const server = await Server.start(t);
  for (const name of bundles.flatMap((name) => [name, `${name}.map`])) {
    const at = `${server.url}/socket.io/${name}`;
    const response = await fetch(at, { headers: { Origin: "https://app.example" } });
    assert.equal(response.status, 200, name);
    assert.equal(await response.text(), readFileSync(new URL(`node_modules/socket.io-client/dist/${name}`, import.meta.url), "utf8"),
      "run scripts/vendor-client");
    assert.match(response.headers.get("content-type"), name.endsWith(".map") ? /^application\/json/ : /^text\/javascript; charset=utf-8$/);
    assert.equal(response.headers.get("access-control-allow-origin"), "*");
    assert.equal(response.headers.get("cache-control"), "no-cache");
    const tag = response.headers.get("etag");
    for (const [header, status] of [[tag, 304], [`"x", W/${tag}`, 304], ["*", 304], ['"x"', 200]]) {
      const again = await fetch(at, { headers: { "If-None-Match": header } });
      assert.equal(again.status, status, `${name}: ${header}`);
      assert.equal(again.headers.get("etag"), tag);
      assert.equal((await again.text()).length > 0, status === 200);
    }
    assert.equal((await fetch(at, { method: "HEAD" })).status, 200);
    assert.equal((await fetch(at, { method: "POST" })).status, 405);
  }
  for (const other of ["socket.io.msgpack.min.js", "LICENSE", "SHA256SUMS", "../socketio/LICENSE"]) {
    assert.equal((await fetch(`${server.url}/socket.io/${other}`)).status, 404, other);
  }
});

test("chromium: pages load the client from the server", async (t) => {
  const server = await Server.start(t);
  const key = await server.key("acme");
  const app = await application(t);
  const page = await newPage(t);
  const faults = [];
  page.on("pageerror", (e) => faults.push(e.message));
  for (const name of bundles) {
    await page.goto(app);
    const greeting = await page.evaluate(`(async () => {
      const name = ${JSON.stringify(name)}, at = ${JSON.stringify(server.url)} + "/socket.io/" + name;
      const { io } = name.includes("esm") ? await import(at) : await new Promise((resolve, reject) => {
        const script = Object.assign(document.createElement("script"), { src: at, onload: () => resolve(globalThis), onerror: reject });
        document.head.append(script);
      });
      const socket = io(${JSON.stringify(`${server.url}/jobs`)}, { auth: { token: ${JSON.stringify(key)} } });
      const { message } = await new Promise((resolve) => socket.on("connected", resolve));
      socket.disconnect();
      return message;
    })()`);
    assert.equal(greeting, "Connected to job events", name);
  }
  assert.deepEqual(faults, []);
});

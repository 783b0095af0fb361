// Two hundred clients at once through a crash.

import assert from "node:assert/strict";
import { test } from "node:test";
import { pause, until } from "./jobcast.mjs";
import { Server, connect, modes, recoveredEvents } from "./socketio.mjs";

const crowd = 200;

test(`${crowd} clients hear every event once through kill -9 and restart`, async (t) => {
  const server = await Server.start(t);
  const key = await server.key("acme", `--max-connections=${crowd}`);
  const ways = Object.entries(modes);
  const clients = Array.from({ length: crowd }, (_, i) => {
    const [mode, options] = ways[i % ways.length];
    const client = connect(t, server.url, key, { ...options, reconnectionDelay: 200, reconnectionDelayMax: 1000 });
    client.mode = `${i} (${mode})`;
    client.socket.emit("subscribe", {});
    return client;
  });
  await until("all are live", () => clients.every((c) => c.all("live").length === 1));

  const job = await server.work(key);
  let flowing = true;
  const flow = (async () => {
    while (flowing) {
      await job.report(10).catch(() => {}); // the server may be away
      await pause(100);
    }
  })();
  const heard = (n) => until(`all have heard ${n}`, () => clients.every((c) => c.ids.length >= n));
  await heard(30);
  await server.kill();
  await until("all noticed", () => clients.every((c) => c.all("disconnect").length > 0));
  await server.start();
  await until("all are back", () => clients.every((c) => c.socket.connected));
  const log = await server.history(key);
  await heard(log.length + 20);
  flowing = false;
  await flow;
  await job.complete();

  const all = await server.history(key);
  await until("all have heard the end", () => clients.every((c) => c.ids.includes(all.at(-1))));
  let again = 0;
  for (const client of clients) {
    again += recoveredEvents(client, all);
    assert.deepEqual(client.all("connect"), [false, true], `${client.mode}: recovered`);
    assert.deepEqual(client.all("connect_error").filter((e) => e.data), [], `${client.mode}: never refused`);
  }
  t.diagnostic(`${again} events came twice`);
});

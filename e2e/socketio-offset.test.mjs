// How offsets reach the official client, in three of its versions: what handlers and
// catch-all listeners see, and what the client comes back with.

import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { io } from "socket.io-client";
import { io as io46 } from "socket.io-client-4.6";
import { io as io47 } from "socket.io-client-4.7";
import { until } from "./jobcast.mjs";
import { Server, connected, modes, recoveredEvents } from "./socketio.mjs";

const versions = { 4.8: io, 4.7: io47, 4.6: io46 };
const ways = Object.fromEntries(await Promise.all(["event", "argument", "off"].map(
  async (way) => [way, await Server.start({ after }, `--socketio-offset=${way}`)])));

// lifeOf has a client hear one job, with its connection cut in the middle, and returns
// the client and all that its listeners were called with.
async function lifeOf(t, server, options) {
  const key = await server.key("acme");
  const client = await connected(t, server.url, key, options);
  const { socket } = client;
  const called = { handlers: [], catchAll: [], offsets: [] };
  for (const name of ["subscribed", "live", "job.event", "end"]) {
    socket.on(name, (...args) => called.handlers.push([name, ...args]));
  }
  socket.onAny((...args) => called.catchAll.push(args));
  socket.on("disconnect", () => called.offsets.push(socket._lastOffset));
  if (!options.transports) await until("it is upgraded", () => client.settled);
  const job = await server.work(key);
  await client.subscribe({ jobId: job.id, from: "start" });
  await client.hears((await job.report(3)).lastEventId);
  const [, , last] = (await server.history(key, job.id)).slice(-3);
  await until("the offset is there", () => server === ways.off || socket._lastOffset === last);
  socket.io.engine.close();
  await client.next("disconnect");
  await job.report(2);
  await until("it is back", () => client.all("connect").length === 2 && socket.connected);
  if (!socket.recovered) await client.subscribe({ jobId: job.id, lastEventId: last });
  await job.complete();
  await client.next("end");
  const log = await server.history(key, job.id);
  assert.equal(recoveredEvents(client, log, true), 0, "nothing is missing, nothing comes twice");
  return { client, called, last };
}

describe("offsets", { concurrency: 6 }, () => {
  for (const [version, open] of Object.entries(versions)) {
    for (const [mode, options] of Object.entries(modes)) {
      test(`client ${version}, ${mode}: as packets of their own no handler sees them`, async (t) => {
        const { client, called, last } = await lifeOf(t, ways.event, { ...options, open });
        assert.deepEqual(client.all("connect"), [false, true], "recovered");
        assert.equal(called.offsets[0], last);
        for (const [name, ...args] of called.handlers) assert.equal(args.length, 1, name);
        const names = new Set(called.catchAll.map(([name]) => name));
        for (const name of client.offsets) names.delete(name);
        assert.deepEqual([...names].toSorted(), ["connected", "end", "job.event", "live", "subscribed"]);
        for (const [name, ...args] of called.catchAll) {
          assert.equal(args.length, client.offsets.includes(name) ? 0 : 1, name);
        }
        const events = called.catchAll.length - client.offsets.length;
        assert.ok(client.offsets.length <= events, `${client.offsets.length} offsets for ${events} events`);
      });

      test(`client ${version}, ${mode}: as arguments they are the last`, async (t) => {
        const { client, called, last } = await lifeOf(t, ways.argument, { ...options, open });
        assert.deepEqual(client.all("connect"), [false, true], "recovered");
        assert.equal(called.offsets[0], last);
        assert.deepEqual(client.offsets, []);
        for (const [name, ...args] of called.handlers) assert.equal(args.length, name === "end" ? 1 : 2, name);
        const live = called.handlers.filter(([name], i) => name === "job.event" && i > 4);
        for (const [, event, offset] of live) assert.equal(offset, event.id);
      });

      test(`client ${version}, ${mode}: without them there is no recovery`, async (t) => {
        const { client, called } = await lifeOf(t, ways.off, { ...options, open });
        assert.deepEqual(client.all("connect").map((r) => !!r), [false, false]);
        assert.deepEqual(called.offsets, [undefined]);
        assert.equal(client.socket._pid, undefined);
        assert.deepEqual(client.offsets, []);
        for (const [name, ...args] of called.handlers) assert.equal(args.length, 1, name);
      });
    }
  }
});

// What applications of the older gateway do, with the client they use.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, describe, test } from "node:test";
import { Manager } from "socket.io-client";
import { patience, pause, until, waits } from "./jobcast.mjs";
import { Client, Server, connect, connected, modes } from "./socketio.mjs";

// A client that wrongly tried again would do so sooner: its delay is at most 75 ms.
const quietMs = 600;

const server = await Server.start({ after }, "--ping-interval=1s");

const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const cursor = /^[a-z0-9]{1,16}-\d+$/;

describe("Socket.IO", { concurrency: 6 }, () => {
  for (const [mode, options] of Object.entries(modes)) {
    const name = mode.replace(/[^a-z]+/g, "-");
    const open = (t, key, more) => connected(t, server.url, key, { ...options, ...more });

    test(`${mode}: a key is taken from every place where applications put it`, async (t) => {
      const key = await server.key(`places-${name}`);
      const places = {
        "auth.token": { auth: { token: key } },
        "auth.apiKey": { auth: { apiKey: key } },
        "a function": { auth: (give) => give({ token: key }) },
        query: { query: { apiKey: key } },
        Authorization: { extraHeaders: { Authorization: `Bearer ${key}` } },
        "x-api-key": { extraHeaders: { "x-api-key": key } },
        "Bearer in auth.token": { auth: { token: `Bearer ${key}` } },
        "Bearer in auth.apiKey": { auth: { apiKey: `bearer ${key}` } },
        "Bearer in the query": { query: { apiKey: `Bearer ${key}` } },
        "two places, the same": { auth: { token: key }, query: { apiKey: key } },
      };
      for (const [place, more] of Object.entries(places)) {
        const client = connect(t, server.url, undefined, { ...options, ...more });
        const greeting = await client.next("connected");
        assert.equal(greeting.message, "Connected to job events", place);
        assert.equal(greeting.clientId, `places-${name}`);
        assert.equal(greeting.connectionId, client.socket.id);
        assert.match(greeting.connectedAt, time);
        assert.deepEqual(client.heard.map((h) => h[0]), ["connect", "connected"]);
        if (mode !== "polling") await until("a WebSocket is in use", () => client.transport === "websocket");
        client.socket.disconnect();
      }
    });

    test(`${mode}: a client that offers subprotocols`, async (t) => {
      const client = await open(t, await server.key(`protocols-${name}`), { protocols: ["v1", "v2"] });
      await client.subscribe({});
      if (mode === "polling") return;
      await until("a WebSocket is in use", () => client.transport === "websocket");
      assert.equal(client.socket.io.engine.transport.ws.protocol, "v1");
    });

    test(`${mode}: a client that joins the main namespace as well`, async (t) => {
      const key = await server.key(`main-${name}`);
      const manager = new Manager(server.url, { ...options, reconnection: false });
      t.after(() => manager._close());
      const main = manager.socket("/");
      await once(main, "connect");
      const heard = [];
      main.onAny((...event) => heard.push(event));
      main.emit("subscribe", {}); // in the wrong place
      const jobs = new Client(manager.socket("/jobs", { auth: { token: key } }));
      await jobs.next("connected");
      await jobs.subscribe({});
      const job = await server.work(key);
      await jobs.hears((await job.report()).lastEventId);
      assert.deepEqual(heard, []);
      assert.ok(main.connected && main.id !== jobs.socket.id);
      main.disconnect();
      await jobs.hears((await job.report()).lastEventId);
      assert.deepEqual(jobs.all("disconnect"), []);
    });

    test(`${mode}: refusals are connect_error, once`, async (t) => {
      const [key, other] = [await server.key(`refused-${name}`), await server.key(`refused-${name}`)];
      const cases = [
        ["no key", {}, "unauthenticated", 401],
        ["a bad key", { auth: { token: "jc_bad_key" } }, "unauthenticated", 401],
        ["two keys", { auth: { token: key, apiKey: other } }, "ambiguous_credentials", 400],
        ["two keys, one in the query", { auth: { token: key }, query: { apiKey: other } }, "ambiguous_credentials", 400],
        ["no string", { auth: { token: 7 } }, "malformed", 400],
      ].map(([what, more, code, status]) => ({ what, code, status, client: connect(t, server.url, undefined, { ...options, ...more }) }));
      for (const { what, code, status, client } of cases) {
        const error = await client.next("connect_error");
        assert.ok(error instanceof Error && error.message.length > 10, `${what}: ${error.message}`);
        assert.equal(error.data?.code, code, what);
        assert.equal(error.data.status, status);
        assert.ok(!JSON.stringify(error.data).includes(key.split("_")[2]), "no secret comes back");
      }
      await pause(quietMs);
      for (const { what, client } of cases) {
        assert.deepEqual(client.heard.map((h) => h[0]), ["connect_error"], what);
        assert.equal(client.socket.active, false, what);
        assert.equal(client.attempts, 0, what);
      }
      const { client } = cases[0];
      client.socket.auth = { token: key };
      client.socket.connect();
      assert.equal((await client.next("connected")).clientId, `refused-${name}`, "with a key it goes on");
    });

    test(`${mode}: the 11th connection of a key, whatever the ten are`, async (t) => {
      const key = await server.key(`eleven-${name}`);
      const all = Object.values(modes);
      const ten = await Promise.all(Array.from({ length: 9 }, (_, i) => connected(t, server.url, key, all[i % all.length])));
      const sse = new AbortController();
      t.after(() => sse.abort());
      const stream = await fetch(`${server.url}/v1/events`, {
        headers: { "X-API-Key": key, Accept: "text/event-stream" }, signal: sse.signal,
      });
      assert.equal(stream.status, 200);

      const eleventh = connect(t, server.url, key, options);
      const error = await eleventh.next("connect_error");
      assert.equal(error.message, "Maximum connections exceeded");
      assert.equal(error.data.code, "connection_limit");
      assert.equal(error.data.status, 429);
      assert.equal(eleventh.socket.active, false);

      ten[0].socket.disconnect();
      await until("a connection is free again", async () => {
        if (eleventh.socket.connected) return true;
        if (!eleventh.socket.active) eleventh.socket.connect();
        return false;
      });
      for (const client of ten.slice(1)) assert.ok(client.socket.connected);
    });

    test(`${mode}: subscribe and unsubscribe, with and without a callback`, async (t) => {
      const key = await server.key(`rooms-${name}`);
      const client = await open(t, key);
      const { socket } = client;
      const job = await server.work(key);
      const other = await server.work(key);

      const all = await client.subscribe({});
      assert.equal(all.clientId, `rooms-${name}`);
      assert.equal(all.jobId, undefined);
      assert.match(all.cursor, cursor);

      const acknowledged = await socket.timeout(patience).emitWithAck("subscribe", { jobId: job.id });
      assert.deepEqual(acknowledged, await client.next("subscribed"), "the callback gets what the event says");
      assert.equal(acknowledged.jobId, job.id);
      assert.equal(acknowledged.job.id, job.id);
      await client.next("live");
      assert.deepEqual((await socket.timeout(patience).emitWithAck("subscribe", { jobId: job.id })).jobId, job.id, "again");
      await client.next("subscribed");

      const both = (await job.report()).lastEventId;
      await client.hears(both);
      assert.deepEqual(client.ids, [both], "once, though two rooms have it");

      socket.emit("unsubscribe", {});
      assert.equal((await client.next("unsubscribed")).clientId, `rooms-${name}`);
      await other.report();
      const own = (await job.report()).lastEventId;
      await client.hears(own);
      assert.deepEqual(client.ids, [both, own], "only the room of the client was left");

      const left = await socket.timeout(patience).emitWithAck("unsubscribe", { jobId: job.id });
      assert.equal(left.jobId, job.id);
      assert.deepEqual(left, await client.next("unsubscribed"));
      await job.complete();
      await other.complete();
      const again = await socket.timeout(patience).emitWithAck("unsubscribe", { jobId: job.id });
      assert.deepEqual(again, { room: `job:${job.id}`, jobId: job.id }, "who is out is out");
      assert.deepEqual(again, await client.next("unsubscribed"));
      const gone = await socket.timeout(patience).emitWithAck("subscribe", { jobId: "nothing like it" });
      assert.equal(gone.code, "not_found", "the callback hears a refusal too");
      assert.deepEqual(gone, await client.next("error"));
      assert.deepEqual(client.ids, [both, own], "silence after it");
    });

    test(`${mode}: a whole life, and every shape in it`, async (t) => {
      const key = await server.key(`life-${name}`);
      const client = await open(t, key);
      await client.subscribe({});
      const job = await server.submit(key, waits(2, 20));
      await until("the job ends", () => client.all("job.event").some((e) => e.type === "job.completed"));
      const failing = await server.submit(key, { actions: [{ type: "http", method: "GET", url: "http://127.0.0.1:1/" }] });
      await until("the job fails", () => client.all("job.event").some((e) => e.type === "job.failed"));
      const cancelled = await server.submit(key, waits(1, 60_000));
      await server.ask("POST", `/v1/jobs/${cancelled.id}/cancel`, key);
      await until("the job is cancelled", () => client.all("job.event").some((e) => e.type === "job.cancelled"));

      const of = (id) => client.all("job.event").filter((e) => e.jobId === id);
      assert.deepEqual(of(job.id).map((e) => [e.type, e.status]), [["job.created", "pending"], ["job.started", "processing"],
        ["job.progress", "processing"], ["job.progress", "processing"], ["job.completed", "completed"]]);
      const [created, started, first, second, completed] = of(job.id);
      for (const e of client.all("job.event")) {
        assert.deepEqual(Object.keys(e), ["id", "type", "jobId", "status", "timestamp", "data"]);
        assert.match(e.timestamp, time);
      }
      assert.deepEqual(Object.keys(created.data), ["createdAt"]);
      assert.equal(started.data.attempt, 1);
      assert.match(started.data.startedAt, time);
      assert.deepEqual(first.data, { progress: 50, message: "Executing action 1 of 2: wait", step: "wait" });
      assert.deepEqual(second.data, { progress: 100, message: "Executing action 2 of 2: wait", step: "wait" });
      assert.match(completed.data.completedAt, time);
      assert.deepEqual(completed.data.artifacts, []);
      assert.equal(completed.data.result.actions.length, 2);
      const failed = of(failing.id).at(-1);
      assert.deepEqual(Object.keys(failed.data).toSorted(), ["completedAt", "error", "errorMessage"]);
      assert.equal(of(cancelled.id).at(-1).type, "job.cancelled");

      assert.deepEqual(client.ids, await server.history(key), "everything, in the order of the log");
      for (const [event, ...rest] of client.heard) {
        if (event !== "connect") assert.equal(rest.length, 1, `${event} has one argument`);
      }
    });

    test(`${mode}: a job that is over, one that goes on from a cursor, and those of others`, async (t) => {
      const [key, other] = [await server.key(`old-${name}`), await server.key(`stranger-${name}`)];
      const job = await server.work(key);
      const middle = (await job.report(3)).lastEventId;
      await job.report(3);
      await job.complete();
      const history = await server.history(key, job.id);

      const client = await open(t, key);
      await client.subscribe({ jobId: job.id });
      const end = await client.next("end");
      assert.deepEqual(client.ids, history.slice(-1), "nobody waits for ever");
      assert.equal(client.all("job.event")[0].type, "job.completed");
      assert.deepEqual(end, { jobId: job.id, status: "completed", lastEventId: history.at(-1) });

      const late = await open(t, key);
      await late.subscribe({ jobId: job.id, lastEventId: middle });
      await late.next("end");
      assert.deepEqual(late.ids, history.slice(history.indexOf(middle) + 1), "right after the cursor");

      const lost = await open(t, key); // with cursors that mean nothing here
      for (const [lastEventId, reason] of [["elsewhere-9", "epoch"], ["x", "invalid"]]) {
        await lost.subscribe({ lastEventId });
        assert.equal((await lost.next("reset")).reason, reason);
        lost.socket.emit("unsubscribe", {});
        await lost.next("unsubscribed");
      }
      assert.deepEqual(lost.all("disconnect"), []);

      const stranger = await open(t, other);
      const refusals = [];
      for (const jobId of [job.id, "00000000-0000-7000-8000-000000000000", "no id"]) {
        stranger.socket.emit("subscribe", { jobId });
        const error = await stranger.next("error");
        assert.deepEqual(error.ref, { event: "subscribe", jobId });
        refusals.push({ ...error, ref: undefined });
      }
      assert.equal(refusals[0].code, "not_found");
      assert.ok(refusals[0].message.length > 0);
      assert.deepEqual(refusals[1], refusals[0], "another client's job looks like none");
      assert.deepEqual(refusals[2], refusals[0]);
      assert.deepEqual(stranger.ids, []);
      assert.ok(stranger.socket.connected);
    });

    test(`${mode}: ping and pong of the application, and events that nobody knows`, async (t) => {
      const client = await open(t, await server.key(`ping-${name}`));
      const { socket } = client;
      socket.on("ping", () => socket.emit("pong"));
      assert.match((await client.next("ping")).timestamp, time);
      assert.match((await client.next("ping")).timestamp, time);
      assert.deepEqual(client.all("error"), [], "pong is no error");

      socket.emit("nonsense", 1, "two");
      const error = await client.next("error");
      assert.equal(error.code, "invalid");
      assert.deepEqual(error.ref, { event: "nonsense" });
      socket.emit("subscribe", "everything");
      assert.equal((await client.next("error")).code, "malformed");
      socket.emit("binary", Buffer.from([1, 2, 3]));
      assert.deepEqual((await client.next("error")).ref, { event: "binary" });
      assert.equal((await socket.timeout(patience).emitWithAck("nonsense")).code, "invalid");
      assert.ok((await client.subscribe({})).clientId, "nothing was closed by it");
      assert.equal(client.all("disconnect").length, 0);
    });
  }
});

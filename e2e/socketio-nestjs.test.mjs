// The clients and the test cases of the NestJS gateway that jobcast replaces, without
// --compat=nestjs and with it.

import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { fromEvent, lastValueFrom, take, takeWhile, toArray } from "rxjs";
import { io } from "socket.io-client";
import { pause, until, waits } from "./jobcast.mjs";
import { Server, connect, connected, modes } from "./socketio.mjs";

const quietMs = 600; // a client that tried again by itself would have done so

const manners = {
  plain: await Server.start({ after }, "--ping-interval=1s"),
  nestjs: await Server.start({ after }, "--ping-interval=1s", "--compat=nestjs"),
};
let n = 0;
const name = () => `client-${++n}`;

// refused waits until a client was refused, as the server's manners say it.
async function refused(client, compat, message) {
  if (compat === "plain") {
    assert.match((await client.next("connect_error")).message, message);
  } else {
    assert.deepEqual(Object.keys(await client.next("error")), ["message"]);
    assert.match(client.all("error").at(-1).message, message);
    assert.equal(await client.next("disconnect"), "io server disconnect");
    assert.deepEqual(client.heard.slice(-3).map((h) => h[0]), ["connect", "error", "disconnect"]);
  }
  assert.equal(client.socket.connected, false);
  assert.equal(client.socket.active, false, "it does not try again by itself");
}

for (const [compat, server] of Object.entries(manners)) {
  describe(`the gateway's clients, ${compat}`, { concurrency: 4 }, () => {
    for (const [mode, options] of Object.entries(modes)) {
      const open = (t, key, more) => connected(t, server.url, key, { ...options, ...more });

      test(`${mode}: refuses a client without a key, and one with an invalid key`, async (t) => {
        const clients = [connect(t, server.url, undefined, options), connect(t, server.url, "jc_bad_key", options),
          connect(t, server.url, undefined, { ...options, query: { apiKey: "bad" } })];
        for (const client of clients) await refused(client, compat, /key/);
        await pause(quietMs);
        for (const client of clients) assert.equal(client.attempts, 0);
      });

      test(`${mode}: refuses the 11th of eleven tabs with one key`, async (t) => {
        const key = await server.key(name());
        const tabs = [];
        for (let i = 0; i < 10; i++) tabs.push(await open(t, key));
        const eleventh = connect(t, server.url, key, options);
        await refused(eleventh, compat, /^Maximum connections exceeded$/);
        // What pages do then.
        const again = () => setTimeout(() => eleventh.socket.connect(), 50);
        eleventh.socket.on("disconnect", (reason) => reason === "io server disconnect" && again());
        eleventh.socket.on("connect_error", again);
        again();
        await eleventh.next(compat === "plain" ? "connect_error" : "error");
        tabs[3].socket.disconnect();
        assert.equal((await eleventh.next("connected")).message, "Connected to job events");
        for (const tab of tabs.toSpliced(3, 1)) assert.ok(tab.socket.connected);
      });

      test(`${mode}: accepts the key from the query, as Bearer, as x-api-key, in auth`, async (t) => {
        const client = name();
        const key = await server.key(client);
        for (const way of [{ query: { apiKey: key } }, { extraHeaders: { Authorization: `Bearer ${key}` } },
          { extraHeaders: { "x-api-key": key } }, { auth: { token: key } }, { auth: { token: `Bearer ${key}` } }, { auth: { apiKey: key } },
          { auth: { apiKey: `Bearer ${key}` } }, { query: { token: key } }]) {
          const { socket, heard } = await open(t, undefined, way);
          assert.equal(heard.find((h) => h[0] === "connected")[1].clientId, client, JSON.stringify(way));
          socket.disconnect();
        }
      });

      test(`${mode}: of several credentials`, async (t) => {
        const client = name();
        const [key, wrong] = [await server.key(client), "an-application's-own-token"];
        const header = (headers) => ({ extraHeaders: headers });
        for (const way of [ // the first one is good
          { query: { apiKey: key }, auth: { token: wrong } },
          { query: { apiKey: key }, ...header({ Authorization: `Bearer ${wrong}` }) },
          { query: { apiKey: key, token: wrong }, ...header({ "x-api-key": wrong }) },
          { ...header({ Authorization: `Bearer ${key}`, "x-api-key": wrong }) },
          { ...header({ "x-api-key": key }), auth: { token: wrong, apiKey: wrong } },
          { auth: { token: key, apiKey: wrong } },
          { query: { token: wrong }, auth: { apiKey: key } },
          { ...header({ "x-api-key": key }), auth: { token: { its: "own" } } },
          { auth: { token: key, pid: 7, offset: [] } },
        ]) {
          const it = connect(t, server.url, undefined, { ...options, ...way });
          if (compat === "plain") await refused(it, compat, /two different credentials|auth is/);
          else assert.equal((await it.next("connected")).clientId, client, JSON.stringify(way));
          it.socket.disconnect();
        }
        for (const way of [ // and the others are not looked at
          { query: { apiKey: wrong }, auth: { token: key } },
          { ...header({ "x-api-key": wrong }), auth: { token: key } },
          { auth: { token: wrong, apiKey: key } },
        ]) {
          const it = connect(t, server.url, undefined, { ...options, ...way });
          await refused(it, compat, /key|two different/);
        }
      });

      test(`${mode}: subscribes to one job, whose room its events reach`, async (t) => {
        const key = await server.key(name());
        const { socket } = await open(t, key);
        const job = await server.work(key);
        const other = await server.work(key);
        const calls = [];
        socket.on("job.event", (...args) => calls.push(args));
        await new Promise((resolve) => {
          socket.on("subscribed", (data, ...more) => { assert.deepEqual([data.jobId, more], [job.id, []]); resolve(); });
          socket.emit("subscribe", { jobId: job.id });
        });
        await job.report();
        await other.report();
        await job.complete();
        await until("the end", () => calls.at(-1)?.[0].type === "job.completed");
        assert.deepEqual(calls.map((args) => [args.length, args[0].type, args[0].jobId, args[0].data.progress]),
          [[1, "job.progress", job.id, 50], [1, "job.completed", job.id, undefined]]);
        assert.equal(calls[0][0].data.message, "report 1");
        assert.deepEqual(calls[1][0].data.artifacts, []);
      });

      test(`${mode}: subscribes to all jobs of the client, and unsubscribes`, async (t) => {
        const [client, stranger] = [name(), name()];
        const [key, foreign] = [await server.key(client), await server.key(stranger)];
        const it = await open(t, key);
        it.socket.emit("subscribe", {});
        assert.equal((await it.next("subscribed")).clientId, client);
        await server.submit(foreign, waits(1, 1));
        const job = await server.submit(key, waits(1, 20));
        await until("its end", () => it.all("job.event").some((e) => e.type === "job.completed"));
        assert.ok(it.all("job.event").every((e) => e.jobId === job.id));
        it.socket.emit("unsubscribe", {});
        await it.next("unsubscribed");
        const before = it.heard.length;
        const later = await server.submit(key, waits(1, 1));
        await server.ask("GET", `/v1/jobs/${later.id}/events?wait=10`, key, undefined, { Accept: "application/json" });
        assert.equal((await it.socket.timeout(10_000).emitWithAck("unsubscribe", { jobId: later.id })).jobId, later.id);
        assert.deepEqual(it.heard.slice(before).map((h) => h[0]).filter((event) => event !== "ping"), ["unsubscribed"]);
      });

      test(`${mode}: refuses subscribe when not authenticated`, async (t) => {
        const key = await server.key(name());
        const it = connect(t, server.url, undefined, { ...options, reconnection: false });
        const { socket } = it;
        socket.emit("subscribe", {}); // kept back until it is connected
        socket.on("connect", () => socket.emit("subscribe", { jobId: "x" }));
        await refused(it, compat, /key/);
        await server.submit(key, waits(1, 1));
        await pause(quietMs);
        assert.deepEqual([...it.all("subscribed"), ...it.all("job.event")], []);
      });

      test(`${mode}: pong answers ping, and what is unknown`, async (t) => {
        const it = await open(t, await server.key(name()));
        const { socket } = it;
        socket.on("ping", ({ timestamp }) => { assert.ok(Date.parse(timestamp)); socket.emit("pong"); });
        for (const event of ["heartbeat", "message", "pong2"]) socket.emit(event, { any: "thing" });
        socket.emit("heartbeat", Buffer.from("x"));
        await it.next("ping");
        await it.next("ping");
        const answered = await socket.timeout(quietMs).emitWithAck("heartbeat").then((a) => a.code, () => "silence");
        assert.equal(answered, compat === "plain" ? "invalid" : "silence");
        assert.equal(it.all("error").length, compat === "plain" ? 5 : 0);
        assert.deepEqual(it.all("disconnect"), []);
      });

      test(`${mode}: what subscribe takes`, async (t) => {
        const [client, stranger] = [name(), name()];
        const [key, foreign] = [await server.key(client), await server.key(stranger)];
        const it = await open(t, key);
        const [mine, theirs] = [await server.work(key), await server.work(foreign)];
        const ask = async (event, argument) => {
          const answer = await it.socket.timeout(10_000).emitWithAck(event, argument);
          return answer.code ?? answer.room;
        };
        const all = `client:${client}`;
        for (const [argument, plain, nestjs] of [
          [{}, all, all], [null, all, all], [{ jobId: "" }, all, all], [{ jobId: null }, all, all],
          ["text", "malformed", all], [[], "malformed", all], [5, "malformed", all], [true, "malformed", all], [Buffer.from("x"), "malformed", all],
          [{ jobId: 0 }, "malformed", all], [{ jobId: -0.0 }, "malformed", all], [{ jobId: false }, "malformed", all],
          [{ jobId: mine.id }, `job:${mine.id}`, `job:${mine.id}`], [{ jobId: [mine.id] }, "malformed", `job:${mine.id}`],
          [{ jobId: 5 }, "malformed", "not_found"], [{ jobId: true }, "malformed", "not_found"], [{ jobId: [] }, "malformed", "not_found"],
          [{ jobId: [null] }, "malformed", "not_found"], [{ jobId: {} }, "malformed", "not_found"], [{ jobId: "false" }, "not_found", "not_found"],
          [{ jobId: "0" }, "not_found", "not_found"], [{ jobId: [mine.id, mine.id] }, "malformed", "not_found"],
          [{ jobId: theirs.id }, "not_found", "not_found"], [{ jobId: [theirs.id] }, "malformed", "not_found"],
          [{ jobId: mine.id, lastEventId: 7, from: {} }, "malformed", `job:${mine.id}`],
        ]) {
          const want = compat === "plain" ? plain : nestjs;
          assert.equal(await ask("subscribe", argument), want, JSON.stringify(argument));
          if (/^(job|client):/.test(want)) assert.equal(await ask("unsubscribe", argument), want, JSON.stringify(argument));
        }
        await it.subscribe({});
        await theirs.report();
        const own = await mine.report();
        await it.hears(own.lastEventId);
        assert.deepEqual(it.ids, [own.lastEventId], "nothing of another client");
        await mine.report();
        const after = await it.socket.timeout(10_000).emitWithAck("subscribe", { jobId: mine.id, lastEventId: own.lastEventId });
        assert.equal(after.cursor, own.lastEventId);
      });

      test(`${mode}: everything of a client is released when it disconnects`, async (t) => {
        const key = await server.key(name(), "--max-connections=1");
        for (let i = 0; i < 4; i++) {
          const it = await until("the slot is free", async () => {
            const next = connect(t, server.url, key, options);
            await until("an answer", () => next.heard.some((h) => ["connected", "connect_error", "error"].includes(h[0])));
            return next.all("connected").length === 1 && next;
          });
          await it.subscribe({});
          await refused(connect(t, server.url, key, options), compat, /^Maximum/);
          it.socket.disconnect();
        }
      });

      test(`${mode}: pages leave a room at the end, and subscribe too early, twice and in every connect`, async (t) => {
        const key = await server.key(name());
        const job = await server.work(key);
        const it = connect(t, server.url, key, options);
        const { socket } = it;
        socket.on("connect", () => socket.emit("subscribe", { jobId: job.id }));
        socket.on("job.event", (event) => {
          if (["job.completed", "job.failed"].includes(event.type)) socket.emit("unsubscribe", { jobId: event.jobId });
        });
        await it.next("live");
        socket.emit("subscribe", { jobId: job.id });
        await it.next("subscribed");
        await it.next("subscribed");
        const early = "01990000-0000-7000-8000-000000000000";
        socket.emit("subscribe", { jobId: early });
        assert.deepEqual((await it.next("error")).ref, { event: "subscribe", jobId: early });
        const next = await server.submit(key, waits(1, 50));
        socket.emit("subscribe", { jobId: next.id, from: "start" });
        await until("the next one's end", () => it.all("job.event").some((e) => e.jobId === next.id && e.type === "job.completed"));
        assert.equal((await it.next("unsubscribed")).jobId, next.id);
        assert.ok(it.all("job.event").some((e) => e.jobId === next.id && e.type === "job.created"), "from its start");
        const report = await job.report();
        await it.hears(report.lastEventId);
        socket.io.engine.close();
        await until("it is back", () => it.all("connect").length === 2);
        assert.ok(socket.recovered);
        await job.complete();
        assert.equal((await it.next("unsubscribed")).jobId, job.id);
        assert.equal(it.all("error").length, 1, "only what was asked for too early");
        assert.deepEqual(it.all("job.event").filter((e) => e.jobId === job.id && e.type === "job.completed").length, 1);
      });

      test(`${mode}: rxjs`, async (t) => {
        const key = await server.key(name());
        const socket = io(`${server.url}/jobs`, { forceNew: true, ...options, auth: { token: key } });
        t.after(() => socket.disconnect());
        const first = (event) => lastValueFrom(fromEvent(socket, event).pipe(take(1)));
        assert.equal((await first("connected")).message, "Connected to job events");
        const subscribed = first("subscribed");
        const events = lastValueFrom(fromEvent(socket, "job.event").pipe(takeWhile((e) => e.type !== "job.completed", true), toArray()));
        socket.emit("subscribe", {});
        assert.match((await subscribed).room, /^client:/);
        await server.submit(key, waits(1, 1));
        assert.deepEqual((await events).map((e) => e.type), ["job.created", "job.started", "job.progress", "job.completed"]);
      });
    }
  });
}

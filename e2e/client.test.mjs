// The JavaScript client in Node against a real server: what it promises, on each transport.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { all, connect, LostError, Problem } from "../client/js/client.js";
import { key, post, submit, until, url, waits } from "./jobcast.mjs";
import { author, clientOf, facts } from "./watching.mjs";

const file = (name) => fileURLToPath(new URL(`../client/js/${name}`, import.meta.url));

const story = ["job.created", "job.started", "job.progress", "job.progress", "job.completed"];

for (const transport of ["websocket", "sse", "poll"]) {
  test(`${transport}: submit, watch, wait, cancel, retry`, async (t) => {
    const jobcast = clientOf(t, { transport });
    const job = await jobcast.submit(waits(2, 20));
    const states = [], got = [];
    for await (const event of jobcast.watch(job.id, { onState: (s) => states.push(s) })) got.push(event);
    assert.deepEqual(got.map((e) => e.type), story);
    assert.deepEqual(states.map((s) => s.state).filter((s) => s !== "live"), ["connected", "ended"]);
    assert.equal(states[0].transport, transport);

    // What has ended is told once more from its beginning, or from a cursor of another transport on.
    const heard = [];
    await jobcast.watch(job.id, { after: got[2].id, onEvent: (e) => heard.push(e) }).done;
    assert.deepEqual(heard, got.slice(3));
    const thin = [];
    for await (const event of jobcast.watch(job.id, { conflate: true })) thin.push(event);
    assert.deepEqual(thin, [got[0], got[1], got[3], got[4]], "of two progresses that come together, the newer one");
    assert.equal((await jobcast.wait(job.id)).status, "completed");
    await jobcast.watch(job.id, { after: got.at(-1).id, onEvent: assert.fail }).done;

    const long = await jobcast.submit(waits(1, 60_000));
    const waiting = jobcast.wait(long.id);
    const cancelled = await jobcast.cancel(long.id);
    assert.equal(cancelled.status, "cancelled");
    assert.equal((await waiting).status, "cancelled");
    const again = await jobcast.retry(long.id);
    assert.equal(again.retryOf, long.id);
    await jobcast.cancel(again.id);

    // A reset is told in the place of what is not there.
    const resets = [];
    for await (const event of jobcast.watch(job.id, { after: "elsewhere-9" })) resets.push(event);
    assert.deepEqual(resets.map((e) => e.type), ["reset", ...story]);
    assert.equal(resets[0].data.reason, "epoch");
    assert.equal(resets[0].jobId, job.id);

    // Refusals end a watch, and only that one, also of two that begin together.
    const fresh = clientOf(t, { transport });
    const bad = fresh.watch("01a21025-2d97-7765-9b1c-13c95d9280bd");
    await null;
    const good = fresh.watch(job.id, { onEvent: () => {} });
    await assert.rejects(bad.done, { code: "not_found" });
    await good.done;
    const other = jobcast.watch(all);
    for (const id of ["0".repeat(8) + "-0000-7000-8000-" + "0".repeat(12), "../jobs"]) {
      await assert.rejects(jobcast.watch(id).done, (e) => e instanceof Problem && e.code === "not_found" && e.status === 404);
    }
    await assert.rejects(jobcast.cancel(job.id), (e) => e.code === "conflict" && e.job.id === job.id);
    await assert.rejects(jobcast.submit({ actions: [{ type: "wait", ms: -1 }] }), (e) => e.errors[0].pointer === "/actions/0/ms");
    const aborting = new AbortController();
    const gone = jobcast.watch(again.id, { from: "now", signal: aborting.signal });
    aborting.abort(new Error("enough"));
    await assert.rejects(gone.done, /enough/);
    assert.equal(other.over, undefined);
    other.close();
    await other.done;
  });

  test(`${transport}: many rooms and everything on one connection, each event once and in order`, async (t) => {
    const opened = [];
    const jobcast = clientOf(t, { transport, opened });
    const authors = await Promise.all([author(t), author(t), author(t)]);
    const records = [];
    const follow = (job, o = {}) => {
      const record = { job, events: [] };
      record.watch = jobcast.watch(job, { ...o, onEvent: (e) => record.events.push(e) });
      records.push(record);
      return record;
    };
    const everything = follow(all);
    await authors[0].log(5);
    for (const a of authors) follow(a.id);
    await Promise.all(authors.map((a) => a.log(20)));
    const late = authors.map((a) => follow(a.id)); // begins in the middle, and sees it from the beginning
    const left = follow(authors[1].id);
    await until("the first event", () => left.events.length > 0);
    left.watch.close();
    await Promise.all(authors.map((a) => a.log(20)));
    await Promise.all(authors.map((a) => a.complete()));
    await Promise.all([...records.slice(1, 4), ...late].map((r) => r.watch.done));
    for (const r of [...records.slice(1, 4), ...late]) assert.deepEqual(facts(r.events), await authors.find((a) => a.id === r.job).events());
    const mine = (e) => authors.some((a) => a.id === e.jobId);
    const ends = () => everything.events.filter((e) => mine(e) && e.type === "job.completed").length;
    await until("everything is there", () => ends() === 3);
    for (const a of authors) {
      const seen = facts(everything.events.filter((e) => e.jobId === a.id));
      assert.deepEqual(seen, (await a.events()).slice(-seen.length));
    }
    assert.equal(new Set(everything.events.map((e) => e.id)).size, everything.events.length);
    assert.ok(left.events.length < 60);
    assert.ok(opened.most <= 1, `${opened.most} connections were open together`);
  });
}

test("a token from a callback is renewed when it is refused; without a callback that is the end", async (t) => {
  const mint = async (body) => (await post("/v1/tokens", body)).json();
  const job = await submit(waits(1, 300));
  for (const transport of ["websocket", "sse"]) {
    let asked = 0;
    const jobcast = clientOf(t, { transport, key: undefined, token: async () => (asked++ === 0 ? "jct_ended" : mint({ jobId: job.id, ttl: 60 })) });
    const got = [];
    for await (const event of jobcast.watch(job.id)) got.push(event.type);
    assert.equal(got.at(-1), "job.completed");
    assert.equal(asked, 2);
    // With a token of one job, everything is forbidden, and another job is not there.
    await assert.rejects(jobcast.watch(all).done, { code: "forbidden" });
    const other = await submit(waits(1, 1));
    await assert.rejects(jobcast.watch(other.id).done, { code: "not_found" });
    const never = clientOf(t, { transport, key: undefined, token: () => "jct_ended" });
    await assert.rejects(never.watch(job.id).done, { code: "unauthenticated", status: 401 });
  }
  await assert.rejects(clientOf(t, { key: "jc_wrong_key" }).watch(job.id).done, { code: "unauthenticated" });
});

test("a submit that is repeated makes one job; giving up is a LostError", async (t) => {
  let tries = 0;
  const jobcast = connect({ url, key, timings: { retryMin: 1 }, fetch: async (...args) => {
    const answer = await fetch(...args);
    if (tries++ < 3) throw new TypeError("the answer was lost");
    return answer;
  } });
  const title = `once ${Date.now()}`;
  const job = await jobcast.submit({ ...waits(1, 1), title });
  const { jobs } = await (await fetch(`${url}/v1/jobs?limit=20`, { headers: { Authorization: `Bearer ${key}` } })).json();
  assert.deepEqual(jobs.filter((j) => j.title === title).map((j) => j.id), [job.id]);
  assert.equal(tries, 4);

  const nowhere = connect({ url: "http://127.0.0.1:9", key, giveUp: 50, timings: { retryMin: 10 } });
  await assert.rejects(nowhere.get(job.id), LostError);
  await assert.rejects(nowhere.watch(job.id, { giveUp: 50 }).done, LostError);
});

test("waits grow with jitter, and are what the server asks for", async (t) => {
  const waits = [], chance = [0, 0.5, 1];
  let n = 0;
  const answers = [503, 503, 503, 429, 502];
  const clock = { now: () => 0, clearTimeout: () => {}, setTimeout: (f, ms) => { if (ms < 10_000) { waits.push(ms); queueMicrotask(f); } } };
  const jobcast = connect({ url, key, clock, random: () => chance[n++ % 3], giveUp: -1, timings: { timeout: 20_000, retryMin: 100, retryMax: 300 }, fetch: async () => {
    const status = answers.shift();
    if (!status) return Response.json({ id: "x" });
    return new Response("", { status, headers: status === 429 ? { "Retry-After": "2" } : {} });
  } });
  await jobcast.get("x");
  // Half of 100, three quarters of 200, all of 300; what is asked for and no chance; three quarters of 300.
  assert.deepEqual(waits.map(Math.round), [50, 150, 300, 2000, 225]);
});

test("an onEvent that throws ends its watch", async (t) => {
  const jobcast = clientOf(t, {});
  const job = await submit(waits(1, 1));
  await assert.rejects(jobcast.watch(job.id, { onEvent: () => { throw new Error("mine"); } }).done, /mine/);
});

test("what is still to come of a room that was left is not taken for the room that is joined again", async (t) => {
  const sent = [];
  let socket;
  class Scripted { // a server whose answers come when the test says so
    readyState = 1;
    constructor() { socket = this; }
    send(text) { sent.push(JSON.parse(text).event); }
    say(event, data) { this.onmessage({ data: JSON.stringify({ event, data }) }); }
    close() {}
  }
  const jobcast = connect({ url, token: "jct_x", WebSocket: Scripted });
  t.after(() => jobcast.close());
  const jobId = "01a21025-2d97-7765-9b1c-13c95d9280bd", room = `job:${jobId}`;
  jobcast.watch(all);
  const left = jobcast.watch(jobId);
  await until("the socket", () => socket?.onmessage);
  socket.say("connected", {});
  for (const [event, cursor] of [["subscribed", "e-1"], ["live", "e-1"]]) socket.say(event, { room, jobId, cursor });
  left.close();
  await until("it is left", () => sent.includes("unsubscribe"));
  const again = jobcast.watch(jobId);
  await until("it is joined again", () => sent.filter((event) => event === "subscribe").length === 3);
  socket.say("end", { jobId, status: "completed", lastEventId: "e-2" }); // of the room that was left
  socket.say("unsubscribed", { room, jobId });
  socket.say("subscribed", { room, jobId, cursor: "e-0" });
  socket.say("job.event", { id: "e-2", type: "job.completed", jobId, status: "completed", data: {} });
  await again.done;
  assert.equal(again.cursor, "e-2");
});

test("the module is served as it is built, and small; its types fit", async () => {
  const answer = await fetch(`${url}/client.js`);
  assert.equal(answer.status, 200);
  assert.match(answer.headers.get("Content-Type"), /^text\/javascript/);
  const { outputFiles: [built] } = await build({ entryPoints: [file("client.js")], bundle: true, minify: true, format: "esm", target: "es2022", write: false });
  assert.equal(await answer.text(), built.text, "`npm run build` in client/js was forgotten");
  assert.ok(gzipSync(built.contents).length < 10_000, "less than 10 KB with gzip");
  assert.equal((await fetch(`${url}/static/client.js`, { headers: { "If-None-Match": answer.headers.get("ETag") } })).status, 304);
  const tsc = spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "."], { encoding: "utf8" });
  assert.equal(tsc.status, 0, tsc.stdout + tsc.stderr);
});

test("a URL without scheme http, with credentials or a query, is refused, and so is a broken key", () => {
  for (const bad of [{ url: "ftp://x" }, { url: "http://u@h" }, { url: "http://h?q" }, { url, key: "a b" }, { url, key, token: "x" }]) assert.throws(() => connect(bad), TypeError);
});

// The JavaScript client through proxies that stand in its way, in Node and in Chromium.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { WebSocket } from "ws"; // Node 20 has none of its own
import * as module from "../client/js/client.js";
import { newPage, pause, post, until, url } from "./jobcast.mjs";
import { obstacle } from "./obstacles.mjs";
import { author } from "./watching.mjs";

// follow watches a job, and everything, and notes what it sees. It is also sent to the browser as
// text, so it uses nothing from outside.
function follow(connect, options, job) {
  const seen = { events: [], all: [], transport: "", over: "", begun: performance.now(), first: 0 };
  const fact = (e) => `${e.id} ${e.type} ${e.data?.line ?? ""}`;
  const jobcast = connect(options);
  jobcast.watch(job, {
    onEvent: (e) => { seen.first ||= performance.now() - seen.begun; seen.events.push(fact(e)); },
    onState: (s) => { if (s.transport && s.state === "connected") seen.transport = s.transport; },
  }).done.then(() => { seen.over = "ended"; }, (e) => { seen.over = String(e); });
  jobcast.watch("all", { onEvent: (e) => { if (e.jobId === job) seen.all.push(fact(e)); } });
  // look is what there is to wait for, without all the texts.
  const look = () => ({ ...seen, events: seen.events.length, all: seen.all.length, last: seen.all.at(-1) });
  return { seen, look, close: () => jobcast.close() };
}

// Each environment prepares for test t and returns open(options, job), which returns {seen(), look(), close()}.
const environments = {
  Node: async () => async (options, job) => {
    const { seen, look, close } = follow(module.connect, { ...options, WebSocket }, job);
    return { seen: async () => seen, look: async () => look(), close };
  },
  Chromium: async (t) => {
    const page = await newPage(t); // at about:blank, which no policy keeps from calling elsewhere
    await page.evaluate(`globalThis.follow = ${follow}; globalThis.all = []; import("${url}/client.js").then((m) => { globalThis.module = m; })`);
    return async (options, job) => {
      const n = await page.evaluate(([options, job]) => all.push(follow(module.connect, options, job)) - 1, [options, job]);
      return { seen: () => page.evaluate((n) => all[n].seen, n), look: () => page.evaluate((n) => all[n].look(), n), close: () => page.evaluate((n) => all[n].close(), n) };
    };
  },
};

// Way, and the transports that get through while it stands there; none: it comes later, and ends
// what has got through.
const ways = {
  refuse: ["sse"], strip: ["sse"], buffer: ["poll"], 502: [], hole: [], cut: ["websocket", "sse", "poll"], idle: ["websocket"],
};
// Chromium makes a page's WebSockets wait when many of them have failed, the longer the more did
// (up to seconds, which the client's own times leave room for), so those of a test are not too short.
const timings = { firstFrame: 1000, silence: 250, answer: 400, poll: 2000, probe: 1000, retryMin: 50, retryMax: 200 };

// through follows a job that goes on while a way comes and goes.
async function through(t, open, way, transports) {
  const via = await obstacle(t, transports.length ? way : "pass");
  const { token } = await (await post("/v1/tokens", { ttl: 600 })).json();
  const job = await author(t);
  await job.log(30); // there is a history
  const { seen, look, close } = await open({ url: via.url, token, timings }, job.id);
  let writing = true;
  const written = (async () => { while (writing) { await job.log(2); await pause(100); } })();
  if (transports.length) {
    await until(`${way}: an event`, async () => (await look()).events > 36);
    assert.ok(transports.includes((await look()).transport), `${way}: it came over ${(await look()).transport}`);
  } else {
    await until(`${way}: an event`, async () => (await look()).events > 36);
    via.way = way;
    if (way === "502") via.drop();
    const from = via.seen.length;
    await until(`${way}: it is tried again`, () => via.seen.slice(from).length > 3);
  }
  await pause(way === "cut" ? 1500 : 100);
  via.way = "pass";
  if (way === "hole") via.drop(); // what hangs in it would hang for ever
  await until(`${way}: back on the WebSocket`, async () => (await look()).transport === "websocket" && !(await look()).over);
  const count = (await look()).events;
  await until(`${way}: events go on`, async () => (await look()).events > count + 5);
  writing = false;
  await written;
  await job.complete();
  await until(`${way}: the end`, async () => (await look()).over);
  const want = await job.events();
  await until(`${way}: the end in everything`, async () => (await look()).last === want.at(-1));
  const { events, all, over } = await seen();
  assert.equal(over, "ended");
  assert.deepEqual(events, want, `${way}: nothing lost, nothing doubled`);
  assert.deepEqual(all, want.slice(-all.length), `${way}: nothing lost, nothing doubled in everything`);
  assert.ok(all.length > 5);
  await close();
}

describe("the client", { concurrency: true }, () => { // it mostly waits
  for (const [name, prepare] of Object.entries(environments)) {
    test(`${name}: through every obstacle and back`, async (t) => {
      const open = await prepare(t);
      await Promise.all(Object.keys(ways).filter((way) => name === "Node" || !["strip", "idle"].includes(way)).map((way) => through(t, open, way, ways[way])));
    });
  }

  test("with the usual times the first event comes within six seconds", async (t) => {
    const open = await environments.Node(t);
    let late = 0; // how long this process had no processor, in ms
    let before = performance.now();
    const beat = setInterval(() => { late += performance.now() - before - 50; before = performance.now(); }, 50);
    t.after(() => clearInterval(beat));
    await Promise.all(["refuse", "buffer", "502"].map(async (way) => {
      const via = await obstacle(t, way);
      const { token } = await (await post("/v1/tokens", { ttl: 600 })).json();
      const job = await author(t);
      const { look, close } = await open({ url: via.url, token }, job.id);
      const hindered = way === "502" ? 1500 : 0;
      await pause(hindered);
      if (hindered) via.way = "pass";
      await until(`${way}: an event`, async () => (await look()).events);
      const { first } = await look();
      assert.ok(first - late < 6000 + hindered, `${way}: ${first} ms`);
      await close();
    }));
  });
});

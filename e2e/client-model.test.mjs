// The JavaScript client against a model: whatever happens, in whatever order, a watch sees one
// unbroken piece of the log of its room. JOBCAST_SEED repeats a run.

import assert from "node:assert/strict";
import { test } from "node:test";
import { WebSocket } from "ws"; // Node 20 has none of its own
import { all, connect } from "../client/js/client.js";
import { key, pause, post, until, url } from "./jobcast.mjs";
import { obstacle } from "./obstacles.mjs";
import { author, facts } from "./watching.mjs";

const seed = Number(process.env.JOBCAST_SEED) || Date.now() % 1_000_000;

// chance is a small generator of numbers from 0 to 1 (mulberry32).
function chance(state) {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

// logAfter is everything of the client after a cursor.
async function logAfter(cursor) {
  for (const log = []; ;) {
    const answer = await fetch(`${url}/v1/events?lastEventId=${cursor}`, { headers: { Authorization: `Bearer ${key}` } });
    const page = await answer.json();
    if (!page.events.length) return log;
    log.push(...page.events);
    cursor = page.lastEventId;
  }
}

async function world(t, seed) {
  const random = chance(seed);
  const pick = (list) => list[Math.floor(random() * list.length)];
  const via = await obstacle(t, "pass", { random });
  const { token } = await (await post("/v1/tokens", { ttl: 600 })).json();
  const jobcast = connect({ url: via.url, token, random, WebSocket: random() < 0.6 ? WebSocket : null,
    timings: { firstFrame: 500, silence: 200, answer: 300, poll: 1000, probe: 300, retryMin: 10, retryMax: 100 } });
  t.after(() => jobcast.close());
  const authors = await Promise.all([author(t), author(t), author(t)]);
  const watches = [];
  const acts = {
    write: () => pick(authors).log(1 + Math.floor(random() * 5)),
    watch: async () => {
      const job = random() < 0.3 ? all : pick(authors).id;
      const known = watches.flatMap((w) => w.events).filter((e) => job === all || e.jobId === job);
      const after = random() < 0.4 && known.length ? pick(known).id : "";
      const w = { job, after, events: [] };
      w.watch = jobcast.watch(job, {
        after, onEvent: (e) => w.events.push(e), onState: (s) => { w.live = s.state === "live"; },
      });
      watches.push(w);
    },
    leave: async () => {
      const w = pick(watches);
      if (w && !w.watch.over) w.left = true;
      w?.watch.close();
    },
    hinder: async () => { via.way = pick(["pass", "pass", "refuse", "strip", "cut", "502", "buffer"]); },
    drop: async () => via.drop(),
    rest: () => pause(random() * 120),
  };
  const often = ["write", "write", "write", "watch", "watch", "leave", "hinder", "drop", "rest", "rest"];
  const done = [];
  for (let i = 0; i < 60; i++) {
    done.push(pick(often));
    await acts[done.at(-1)]();
  }
  via.way = "pass";
  // Everything begins now unless it is told otherwise: when that is, is not known before it is live.
  await until(`seed ${seed}: all are live; ${done.join(" ")}`, () => watches.every((w) => w.live || w.watch.over));
  await Promise.all(authors.map((a) => a.complete()));
  const last = (await authors[2].events()).at(-1).split(" ")[0];
  for (const [i, w] of watches.entries()) {
    const what = `seed ${seed}, watch ${i} of ${w.job === all ? all : "a job"}${w.after && " from a cursor on"}; ${done.join(" ")}`;
    if (w.job !== all) {
      await until(what, () => w.watch.over);
      const truth = await authors.find((a) => a.id === w.job).events();
      const from = w.after ? truth.findIndex((f) => f.startsWith(`${w.after} `)) + 1 : 0;
      const seen = facts(w.events);
      const whole = w.events.at(-1)?.type === "job.completed" || truth.length === from;
      assert.deepEqual(seen, truth.slice(from, whole ? undefined : from + seen.length), what);
      assert.ok(whole || w.left, what);
    } else if (!w.watch.over) {
      await until(what, () => w.events.some((e) => e.id === last));
    }
    if (w.job === all && w.events.length) {
      const begin = w.after || w.events[0].id;
      const log = await logAfter(begin);
      const seen = facts(w.after ? w.events : w.events.slice(1));
      assert.deepEqual(seen, facts(log).slice(0, seen.length), what);
    }
  }
}

test(`a watch sees one unbroken piece of its room (seed ${seed})`, async (t) => {
  const worlds = 3 * (Number(process.env.JOBCAST_CHAOS) || 1);
  for (let i = 0; i < worlds; i += 3) await Promise.all([0, 1, 2].map((n) => world(t, seed + i + n)));
});

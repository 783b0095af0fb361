#!/usr/bin/env node
// A worker for a queue of jobcast: Node 18 or newer, no packages.
//
//     JOBCAST_URL=http://localhost:3000 JOBCAST_KEY=jc_... node worker.mjs QUEUE
//
// It runs one job after the other and greets the payload's "name". More members
// shape the work, all of them optional: "steps" and "seconds" (3 steps of 1 s),
// "fail": true (the attempt fails) and "retry": false (it is not tried again).
//
// On SIGTERM or Ctrl-C it takes no more jobs. The one at hand may go on for
// JOBCAST_GRACE seconds (10), then it is handed back to be tried again. A second
// signal ends the worker at once; the server notices when the lease runs out.

import { setTimeout as sleep } from "node:timers/promises";

const { JOBCAST_URL: url, JOBCAST_GRACE: grace } = process.env;
const key = process.env.JOBCAST_KEY?.trim();
const queue = process.argv[2];
if (!url || !key || process.argv.length !== 3) {
  console.error("usage: JOBCAST_URL=http://... JOBCAST_KEY=jc_... worker.mjs QUEUE");
  process.exit(2);
}
let idle = true; // no job is at hand: a signal may end the program where it stands
let deadline = Infinity; // set by the first signal: until then the job at hand may go on

class Refused extends Error { // the server has decided; asking again would change nothing
  constructor(status, detail) { super(`the server refuses: ${status} ${detail}`); this.status = status; }
}
class InvalidResult extends Error { retry = false } // the server refuses what we say of the job's end
class Lost extends Error {} // the job is no longer ours: cancelled, out of time, or its lease ran out
class Interrupted extends Error {} // the worker stops before the job is done
class BadPayload extends Error {
  constructor(text, retry) { super(text); this.retry = retry; }
}

const say = (text) => console.error(`worker: ${text}`);

// call makes a call and returns the answer's JSON. While the server cannot be
// reached, or answers 5xx, it tries again: a report may arrive twice, and
// `complete` and `fail` may be repeated with the same lease.
async function call(method, path, body, lease = "", type = "application/json") {
  const headers = { Authorization: `Bearer ${key}`, "X-Lease-Token": lease, "Content-Type": type };
  for (let wait = 500; ; wait = Math.min(2 * wait, 15_000)) {
    let trouble, asked = 0;
    try {
      const answer = await fetch(url.replace(/\/$/, "") + path, { method, headers, body, signal: AbortSignal.timeout(40_000) });
      if (answer.ok) return await answer.json();
      trouble = `status ${answer.status}`;
      asked = 1000 * Number(answer.headers.get("Retry-After")) || 0;
      if (answer.status < 500 && ![408, 429].includes(answer.status)) {
        const problem = await answer.json().catch(() => ({}));
        if (problem.code === "lease_lost") throw new Lost(`no longer ours, it is ${problem.jobStatus}`);
        throw new Refused(answer.status, problem.detail || "");
      }
    } catch (e) {
      if (e instanceof Lost || e instanceof Refused) throw e;
      trouble = e.cause?.code || e.name; // the text of a TypeError may hold the key
    }
    const pause = Math.max(wait * (0.5 + Math.random()), asked);
    if (Date.now() + pause > deadline) throw new Lost(`given up, because the worker stops: ${trouble}`);
    say(`${trouble}; trying again in ${(pause / 1000).toFixed(1)} s`);
    await sleep(pause);
  }
}

// work is the work itself. What it returns is the job's result; what it throws
// fails the attempt. Each report renews the lease (30 s, if the server was not
// told otherwise); who is silent for longer calls .../extend in between.
async function work(job, tell, upload) {
  const { name = "world", steps = 3, seconds = 1, fail = false, retry = true } = job.payload ?? {};
  for (let step = 1; step <= steps; step++) {
    if (Date.now() > deadline) throw new Interrupted("the worker stops");
    await sleep(1000 * seconds);
    await tell("progress", { progress: Math.floor((100 * step) / steps), message: `step ${step} of ${steps}` });
  }
  if (fail) throw new BadPayload("the payload asks for a failure", retry);
  const greeting = `Hello, ${name}!`;
  await upload("greeting.txt", "text/plain; charset=utf-8", `${greeting}\n`);
  return { greeting, attempt: job.attempt };
}

// run runs one claimed job and tells the server how it ended.
async function run(job) {
  const tell = (what, body) => call("POST", `/v1/jobs/${job.id}/${what}`, JSON.stringify(body), job.lease.token);
  const upload = (name, type, content) => call("PUT", `/v1/jobs/${job.id}/artifacts/${name}`, content, job.lease.token, type);
  const end = (what, body) => tell(what, body).catch((e) => {
    throw e instanceof Refused && ![401, 403].includes(e.status) ? new InvalidResult(e.message) : e;
  });
  say(`job ${job.id}: attempt ${job.attempt} begins`);
  try {
    await end("complete", { result: await work(job, tell, upload) });
    say(`job ${job.id}: completed`);
  } catch (e) {
    say(`job ${job.id}: ${e instanceof Lost ? "" : "failed: "}${e.message}`);
    if (e instanceof Lost) return;
    const failure = (e) => ({ error: e.constructor.name, errorMessage: e.message.slice(0, 2000), retry: e.retry !== false });
    await end("fail", failure(e)).catch((e) => {
      if (e instanceof InvalidResult) return tell("fail", failure(e));
      throw e;
    }).catch((e) => {
      if (!(e instanceof Lost)) throw e;
      say(`job ${job.id}: ${e.message}`);
    });
  }
}

for (const signal of ["SIGTERM", "SIGINT"]) {
  process.once(signal, () => {
    if (idle) process.exit(0);
    deadline = Math.min(deadline, Date.now() + 1000 * (grace || 10));
  });
}

try {
  while (deadline === Infinity) {
    const { jobs } = await call("POST", "/v1/workers/claim", JSON.stringify({ queues: [queue], wait: 30 }));
    if (jobs.length === 0) await sleep(1000); // a server that goes down does not let us wait
    idle = false;
    for (const job of jobs) await run(job);
    idle = true;
  }
} catch (e) {
  say(e.message);
  process.exitCode = 1;
}
process.exit(); // connections that are kept for later calls must not hold us

// python-socketio as Debian has it, sync and asyncio, on every transport.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { until } from "./jobcast.mjs";
import { Server } from "./socketio.mjs";

const script = fileURLToPath(new URL("socketio-python.py", import.meta.url));
const manners = {
  plain: await Server.start({ after }, "--ping-interval=1s"),
  nestjs: await Server.start({ after }, "--ping-interval=1s", "--compat=nestjs"),
};
let n = 0;
const name = () => `client-${++n}`;

// Python is one application, and what it has printed.
class Python {
  heard = [];
  stderr = "";

  constructor(t, how, url, options) {
    this.process = spawn("/usr/bin/python3", [script, how, url, JSON.stringify(options)], { stdio: "pipe" });
    t.after(() => this.process.kill());
    let rest = "";
    this.process.stdout.setEncoding("utf8").on("data", (chunk) => {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop();
      this.heard.push(...lines.map((line) => JSON.parse(line)));
    });
    this.process.stderr.setEncoding("utf8").on("data", (chunk) => { this.stderr += chunk; });
  }

  all(event) {
    return this.heard.filter((h) => h[0] === event).map((h) => h[1]);
  }

  // hears waits for the n-th of an event and returns it.
  async hears(event, nth = 1) {
    await until(() => `${event}, number ${nth}; heard ${JSON.stringify(this.heard.slice(-5))} ${this.stderr}`,
      () => this.all(event).length >= nth);
    return this.all(event)[nth - 1];
  }

  tell(...command) {
    this.process.stdin.write(`${JSON.stringify(command)}\n`);
  }
}

// seq is the place of an event in its log.
const seq = (event) => Number(event.id.split("-")[1]);

const transports = { "polling, then websocket": ["polling", "websocket"], polling: ["polling"], websocket: ["websocket"] };

for (const [compat, server] of Object.entries(manners)) {
  describe(`python-socketio, ${compat}`, { concurrency: 3 }, () => {
    for (const how of ["sync", "asyncio"]) {
      for (const [mode, list] of Object.entries(transports)) {
        test(`${how}, ${mode}: a life, with handlers of one argument`, async (t) => {
          const key = await server.key(name());
          const job = await server.work(key);
          const app = new Python(t, how, server.url, { transports: list, auth: { token: key } });
          assert.equal((await app.hears("connected")).message, "Connected to job events");
          app.tell("subscribe", { jobId: job.id });
          assert.equal((await app.hears("subscribed")).jobId, job.id);
          assert.deepEqual(await app.hears("answer"), app.all("subscribed")[0]);
          await app.hears("live");
          await job.report(3);
          await job.complete();
          assert.equal((await app.hears("end")).status, "completed");
          assert.deepEqual(await app.hears("unsubscribed"), { room: `job:${job.id}`, jobId: job.id }, "left after its end");
          app.tell("unsubscribe", { jobId: job.id });
          assert.deepEqual(await app.hears("answer", 2), { room: `job:${job.id}`, jobId: job.id });
          app.tell("subscribe", {});
          await app.hears("live", 2);
          const next = await server.work(key);
          await next.complete();
          await app.hears("job.event", 7);
          app.tell("disconnect");
          await app.hears("bye");
          const events = app.all("job.event");
          if (how === "sync") events.sort((a, b) => seq(a) - seq(b)); // there each handler runs in a thread of its own
          assert.deepEqual(events.map((e) => [e.jobId, e.type]), [
            ...Array.from({ length: 3 }, () => [job.id, "job.progress"]), [job.id, "job.completed"],
            [next.id, "job.created"], [next.id, "job.started"], [next.id, "job.completed"]]);
          assert.deepEqual(app.all("error"), []);
          assert.doesNotMatch(app.stderr, /TypeError/, "a handler was given something else than it takes");
        });
      }

      test(`${how}: other places of the key, and refusals`, async (t) => {
        const client = name();
        const key = await server.key(client);
        for (const [url, options] of [[`${server.url}?apiKey=${key}`, {}], [server.url, { headers: { "X-API-Key": key } }],
          [server.url, { headers: { Authorization: `Bearer ${key}` } }], [server.url, { auth: { token: `Bearer ${key}` } }]]) {
          const app = new Python(t, how, url, options);
          assert.equal((await app.hears("connected")).clientId, client);
          app.tell("disconnect");
          await app.hears("bye");
          assert.doesNotMatch(app.stderr, /TypeError/, "a handler was given something else than it takes");
        }
        const app = new Python(t, how, server.url, { auth: { token: "wrong" } });
        const said = await app.hears(compat === "plain" ? "connect_error" : "error");
        assert.match(said.message, /key/);
        if (compat === "plain") await app.hears("refused");
        else await app.hears("disconnect");
      });
    }
  });
}

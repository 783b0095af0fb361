// The JavaScript client while its server drains, is killed, comes back, and takes its key away.

import assert from "node:assert/strict";
import { test } from "node:test";
import { all, Problem } from "../client/js/client.js";
import { until } from "./jobcast.mjs";
import { Server } from "./socketio.mjs";
import { clientOf } from "./watching.mjs";

test("through a drain, a kill and the end of its key, on each transport; and more jobs than a connection has rooms", async (t) => {
  const server = await Server.start(t, "--max-connections-per-key=100");
  const keys = {};
  const jobs = {};
  const views = [];
  const admin = await server.key("restarted", "--scope=admin");
  for (const transport of ["websocket", "sse", "poll"]) {
    keys[transport] = await server.key("restarted");
    jobs[transport] = await server.work(keys[transport]);
    const { id } = jobs[transport];
    const jobcast = clientOf(t, { transport, url: server.url, key: keys[transport], timings: { retryMax: 300 } });
    const view = { transport, job: [], all: [], states: [] };
    view.watch = jobcast.watch(id, { onEvent: (e) => view.job.push(e.id), onState: (s) => view.states.push(s) });
    view.everything = jobcast.watch(all, { onEvent: (e) => view.all.push(e.id), from: "start" });
    view.jobcast = jobcast;
    views.push(view);
  }
  const reported = async (what) => {
    for (const job of Object.values(jobs)) await job.report(3);
    const history = await server.history(keys.sse);
    for (const v of views) await until(`${v.transport}: ${what}`, () => v.all.at(-1) === history.at(-1));
  };
  await reported("before");
  await server.stop();
  await server.start();
  await reported("after a drain");
  await server.kill();
  await server.start();
  await reported("after a kill");

  // More jobs than rooms: the client's log carries them.
  const many = await Promise.all(Array.from({ length: 105 }, () => server.submit(keys.sse, { actions: [{ type: "wait", ms: 1 }] })));
  const ended = await Promise.all(many.map((j) => views[0].jobcast.wait(j.id)));
  assert.ok(ended.every((j) => j.status === "completed"));

  for (const v of views) await jobs[v.transport].complete();
  for (const v of views) await v.watch.done;
  const history = await server.history(keys.sse);
  for (const v of views) {
    await until(`${v.transport}: the end`, () => v.all.at(-1) === history.at(-1));
    assert.deepEqual(v.job, await server.history(keys.sse, jobs[v.transport].id), v.transport);
    assert.deepEqual(v.all, history, v.transport);
    assert.ok(v.states.some((s) => s.state === "lost" && s.wait > 0 && s.error), v.transport);
  }
  const { keys: known } = await server.ask("GET", "/v1/keys", admin);
  for (const k of known.filter((k) => !k.scopes.includes("admin"))) await server.ask("DELETE", `/v1/keys/${k.id}`, admin);
  for (const v of views) await assert.rejects(v.everything.done, (e) => e instanceof Problem && e.code === "unauthenticated", v.transport);
});

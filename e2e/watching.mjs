// Helpers of the tests of the JavaScript client.

import assert from "node:assert/strict";
import { WebSocket } from "ws"; // Node 20 has none of its own
import { connect } from "../client/js/client.js";
import { key, post, url } from "./jobcast.mjs";

// clientOf is a client that test t closes. With a transport it uses that one alone. `opened.most`
// becomes how many streams were open at the same time.
export function clientOf(t, { transport, opened, ...options }) {
  let open = 0;
  const one = (n) => { open += n; if (opened) opened.most = Math.max(opened.most ?? 0, open); };
  class Counted extends WebSocket {
    constructor(...args) {
      super(...args);
      one(1);
      this.once("close", () => one(-1));
    }
  }
  const jobcast = connect({
    url, key, WebSocket: transport && transport !== "websocket" ? null : Counted,
    fetch: async (target, init) => {
      const stream = init.headers.Accept?.includes("event-stream") || target.includes("wait=");
      if (transport === "poll" && init.headers.Accept?.includes("event-stream")) throw new TypeError("no streams here");
      if (stream && init.headers.Accept) {
        one(1);
        init.signal.addEventListener("abort", () => one(-1), { once: true });
      }
      const answer = await fetch(target, init);
      if (target.includes("wait=")) init.signal.aborted || one(-1);
      return answer;
    },
    ...options,
  });
  t.after(() => jobcast.close());
  return jobcast;
}

let queues = 0;

// author makes a job of a queue of its own, claims it, and writes its events as told.
export async function author(t) {
  const queue = `q${process.pid}-${++queues}-${Date.now()}`;
  const job = await (await post("/v1/jobs", { queue, payload: null })).json();
  const { jobs: [claimed] } = await (await post("/v1/workers/claim", { queues: [queue], leaseMs: 600_000 })).json();
  const call = async (verb, body) => {
    const answer = await fetch(`${url}/v1/jobs/${job.id}/${verb}`, {
      method: "POST", body: JSON.stringify(body),
      headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json", "X-Lease-Token": claimed.lease.token },
    });
    assert.equal(answer.status, 200, await answer.clone().text());
    await answer.arrayBuffer();
  };
  let line = 0;
  return {
    id: job.id,
    log: (n) => call("progress", Array.from({ length: n }, () => ({ log: { level: "info", line: `line ${++line}` } }))),
    complete: () => call("complete", {}),
    // events are what the server has of the job.
    async events() {
      const answer = await fetch(`${url}/v1/jobs/${job.id}/events`, { headers: { Authorization: `Bearer ${key}` } });
      return facts((await answer.json()).events);
    },
  };
}

// facts are what makes an event, short enough to be read in a message of a failed test.
export const facts = (events) => events.map((e) => `${e.id} ${e.type} ${e.data?.line ?? ""}`);

// jobcast's client for pages, workers, Node 20 and later, and Bun: it submits jobs and
// watches them. It needs nothing but fetch, and a WebSocket where there is one.
//
//   import { connect } from "jobcast";
//   const jobcast = connect({ url: "https://jobs.example.com", token });
//   for await (const event of jobcast.watch(job.id)) … // ends with the job
//
// The parts are in lib/: errors and small things (common), requests (api), what one reader sees
// (watch), the one connection that all of them share (link, connection, transports), and the one
// that all tabs share (tabs). A server hands them out as one file, at /client.js. The wire contract
// is docs/protocol.md.

import { Api } from "./lib/api.js";
import { jobPath, unique } from "./lib/common.js";
import { Link } from "./lib/link.js";
import { Watch } from "./lib/watch.js";

export { LostError, Problem } from "./lib/common.js";
export { all } from "./lib/watch.js";

class Client {
  #api;
  #link;

  constructor(o) {
    this.#api = new Api(o);
    this.#link = new Link(this.#api);
  }

  /** Watches one job from its first event to its end, or `all` from now on. */
  watch(job, o = {}) { return new Watch(this.#link, job, o); }

  /** Makes a job. It is safe to repeat, and is repeated while the server is not available. */
  submit(job, o = {}) {
    return this.#api.post("/v1/jobs", JSON.stringify(job), { idempotencyKey: unique(), ...o });
  }

  get(id, o = {}) { return this.#api.call(jobPath(id), { signal: o.signal }); }

  cancel(id, o = {}) { return this.#api.post(`${jobPath(id)}/cancel`, "{}", o); }

  /** Makes a new job from one that failed or was cancelled. */
  retry(id, o = {}) {
    return this.#api.post(`${jobPath(id)}/retry`, "{}", { idempotencyKey: unique(), ...o });
  }

  /** Waits for the end of a job and resolves to it, however it ended. */
  async wait(id, o = {}) {
    await this.watch(id, { from: "now", giveUp: o.giveUp, signal: o.signal, onEvent: () => {} }).done;
    return this.get(id, o);
  }

  /** Ends all watches. */
  close() { for (const w of [...this.#link.watches]) w.close(); }
}

/** Makes a client. It connects when it is first needed. */
export function connect(options = {}) {
  const here = import.meta.url;
  return new Client({ ...options, url: options.url ?? (here?.startsWith("http") ? new URL(".", here) : "http://localhost:3000") });
}

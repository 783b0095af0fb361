// Watch it three ways: one job over a WebSocket, an EventSource and long-polls side by side, each with
// what goes over its wire. It speaks the three transports itself, as a program would that has no client.

import { at, call } from "../api.js";
import { key } from "../session.js";
import { html, signal, useEffect } from "../ui/html.js";
import { Page } from "../ui/notice.js";
import { sheet } from "../ui/sheet.js";
import { Panel, PanelView } from "./ways/panel.js";
import { followWebSocket } from "./ways/socket.js";
import { followEventSource, followLongPoll } from "./ways/watch.js";
import { work } from "./ways/worker.js";

await sheet(new URL("ways/style.css", import.meta.url));

const samples = {
  actions: { actions: [1, 2, 3, 4].map(() => ({ type: "wait", ms: 1000 })) }, // the server runs them itself
  worker: { queue: "sample", payload: { letter: "How are you?" } }, // waits for a worker
};

const lay = (sample) => JSON.stringify(sample, null, 2).replace(/\{\s+"type": "wait",\s+"ms": 1000\s+\}/g, '{ "type": "wait", "ms": 1000 }');

// State is that of the page while it is shown.
class State {
  panels = [
    new Panel("ws", "WebSocket", "One connection both ways, with any number of rooms. The client says which one it wants, and from where on."),
    new Panel("sse", "EventSource", "Server-Sent Events: one answer that does not end. The browser comes back by itself, with the id of the last event."),
    new Panel("poll", "Long-poll", "Plain requests that wait up to 25 s for news. They get through where nothing else does."),
  ];
  text = signal(lay(samples.actions));
  job = signal(null); // as last seen
  note = signal(null); // {text, kind} about the job
  said = signal(""); // of the worker in this tab
  working = signal(false);
  #newest = ""; // timestamp of the newest event that gave the job its status
  #busy = false; // one call on a job at a time
  #watching = new AbortController();
  #worker = new AbortController();

  constructor() { for (const panel of this.panels) panel.onevent = (event) => this.#follow(event); }

  end() {
    this.#watching.abort();
    this.#worker.abort();
  }

  async #watch(job) {
    this.#watching.abort();
    this.#watching = new AbortController();
    const { signal } = this.#watching;
    for (const panel of this.panels) panel.clear();
    this.#newest = "";
    this.job.value = job;
    // What stands in an address ends up in logs, so it is a token of this job, not the key.
    const token = key.value.startsWith("jct_") ? key.value : (await call("/v1/tokens", { json: { jobId: job.id }, signal })).token;
    const [ws, sse, poll] = this.panels;
    followWebSocket(job.id, token, ws, signal);
    followEventSource(job.id, token, sse, signal);
    followLongPoll(job.id, poll, signal);
  }

  // The panels may be at different places: the newer event tells the status, and a terminal one is final.
  #follow(event) {
    const job = this.job.peek();
    if (event.jobId !== job?.id || event.timestamp < this.#newest || ["completed", "failed", "cancelled"].includes(job.status)) return;
    this.#newest = event.timestamp;
    this.job.value = { ...job, status: event.status };
  }

  async #act(path, json, then) {
    if (this.#busy) return;
    this.#busy = true;
    this.note.value = null;
    try {
      await then(await call(path, { method: "POST", json }));
    } catch (error) {
      if (!this.#watching.signal.aborted || error.status !== undefined) this.note.value = { text: error.message, kind: error.again ? "warn" : "bad" };
    } finally {
      this.#busy = false;
    }
  }

  submit() {
    let spec;
    try {
      spec = JSON.parse(this.text.value);
    } catch (error) {
      this.note.value = { text: `That is not JSON: ${error.message}`, kind: "bad" };
      return undefined;
    }
    if (!this.working.value) this.said.value = "";
    return this.#act("/v1/jobs", spec, (job) => this.#watch(job));
  }

  cancel() { return this.#act(`/v1/jobs/${this.job.value.id}/cancel`, undefined, (job) => { this.job.value = job; }); }
  retry() { return this.#act(`/v1/jobs/${this.job.value.id}/retry`, undefined, (job) => this.#watch(job)); }

  // work lets this tab run the next job of the queue.
  async work() {
    this.working.value = true;
    const { signal } = this.#worker;
    const say = (text) => { if (!signal.aborted) this.said.value = text; };
    try {
      say(await work(this.job.value.queue, signal, say));
    } catch (error) {
      say(error.message);
    } finally {
      this.working.value = false;
    }
  }
}

let kept = null; // between two renders of the page that is shown

export default function Ways() {
  const state = kept ??= new State();
  useEffect(() => () => { state.end(); kept = null; }, []);
  return html`<${Page} title="Watch it three ways">
    <div class="ways">
      <p class="lead">Every change of a job is an event in a log, and each event has an id that is a place in it. So one job can be watched over any transport, and a reader that comes back
        over another one goes on where it was: nothing is missing, nothing comes twice. Submit a job, cut your network, and see.</p>
      <section class="card ways-job" aria-labelledby="job-title"><${JobCard} state=${state} /></section>
      <section aria-labelledby="watch-title">
        <h2 id="watch-title" class="hidden">The three ways</h2>
        <div class="panels">${state.panels.map((panel) => html`<${PanelView} key=${panel.id} panel=${panel} />`)}</div>
      </section>
      <section class="card" aria-labelledby="which-title"><${Which} /></section>
    </div>
  <//>`;
}

function JobCard({ state }) {
  const { text, job, note, said, working } = state;
  const status = job.value?.status;
  const submit = (event) => { event.preventDefault(); state.submit(); };
  const sample = (name) => html`<button type="button" class="button small" id=${`sample-${name}`} onClick=${() => { text.value = lay(samples[name]); }}>${name === "worker" ? "Sample: a worker's job" : "Sample: actions"}</button>`;
  return html`
    <h2 id="job-title">The job</h2>
    <form onSubmit=${submit}>
      <div class="row" role="group" aria-label="Samples">${sample("actions")}${sample("worker")}</div>
      <label class="hidden" for="spec">What to submit</label>
      <textarea id="spec" rows="8" spellcheck=${false} autocapitalize="off" aria-describedby="job-note" value=${text.value} onInput=${(e) => { text.value = e.target.value; }}></textarea>
      <div class="row">
        <button id="submit" type="submit" class="button primary">Submit</button>
        <button id="cancel" type="button" class="button" disabled=${status !== "pending" && status !== "processing"} onClick=${() => state.cancel()}>Cancel</button>
        <button id="retry" type="button" class="button" disabled=${status !== "failed" && status !== "cancelled"} onClick=${() => state.retry()}>Retry</button>
      </div>
    </form>
    <div id="job-note" role="alert" class=${note.value ? `notice ${note.value.kind}` : ""}>${note.value && html`<p>${note.value.text}</p>`}</div>
    ${job.value && html`<dl class="about-job">
      <div><dt>Job</dt><dd><a href=${at(`/jobs/${job.value.id}`)}><code id="job-id">${job.value.id}</code></a></dd></div>
      <div><dt>Status</dt><dd><span id="job-status" role="status">${status}</span></dd></div>
      ${job.value.queue && html`<div><dt>Queue</dt><dd><code id="job-queue-name">${job.value.queue}</code></dd></div>`}
      ${job.value.retryOf && html`<div><dt>Retry of</dt><dd><code id="job-retry-of">${job.value.retryOf}</code></dd></div>`}
    </dl>`}
    ${job.value?.queue && html`<div id="worker">
      <p class="hint">A job of a queue waits for a worker. This tab can be one, and so can a shell with <code>JOBCAST_KEY</code> set:</p>
      <pre class="code"><code id="worker-line">${shellLine(job.value.queue)}</code></pre>
      <div class="row"><button id="work" type="button" class="button" disabled=${working.value} onClick=${() => state.work()}>Work in this tab</button><p id="worker-note" class="hint" role="status">${said.value}</p></div>
    </div>`}`;
}

// shellLine is a command that works on a queue; the name of one has nothing that a shell would take for something else.
function shellLine(queue) {
  return `jobcast work --url ${at("").replace(/\/$/, "")} --queue ${queue} -- sh -c 'echo progress 50 half way; sleep 1; echo "result {}"'`;
}

const rows = [
  ["Made for", "pages with many rooms; both ways", "pages and shells; one way", "anything that can make a request"],
  ["Gets through", "proxies that know Upgrade", "proxies that do not hold back answers", "everything"],
  ["After a cut", "subscribe with lastEventId", "the browser sends Last-Event-ID by itself", "the next request has ?lastEventId="],
  ["Credential", "in the address: a token", "in the address: a token", "in a header: a key or a token"],
  ["Said in silence", "a PING frame every 15 s", "a comment every 15 s", "an empty answer after ?wait="],
];

function Which() {
  return html`<h2 id="which-title">Which one?</h2>
    <p class="hint">The client at <code>/client.js</code> takes the first that gets through and tries the better ones again; so nobody has to choose. What they are, side by side:</p>
    <div class="scroll" tabindex="0" role="region" aria-labelledby="which-title"><table>
      <thead><tr><td></td><th scope="col">WebSocket</th><th scope="col">Server-Sent Events</th><th scope="col">Long-poll</th></tr></thead>
      <tbody>${rows.map(([name, ...cells]) => html`<tr key=${name}><th scope="row">${name}</th>${cells.map((cell) => html`<td>${cell}</td>`)}</tr>`)}</tbody>
    </table></div>
    <p class="hint">Besides these there are NDJSON, for <code>curl -N</code> and programs, and Socket.IO, for its own clients.</p>`;
}

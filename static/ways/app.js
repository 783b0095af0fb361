// The page: a key, a job, and three panels that watch it.

import { call } from "./api.js";
import { Panel } from "./panel.js";
import { followWebSocket } from "./socket.js";
import { followEventSource, followLongPoll } from "./watch.js";
import { work } from "./worker.js";

const $ = (id) => document.getElementById(id);
const keySlot = "jobcast.key"; // in sessionStorage: this tab only
const samples = {
  actions: { actions: [1, 2, 3, 4].map(() => ({ type: "wait", ms: 1000 })) }, // the server runs them itself
  worker: { queue: "sample", payload: { letter: "How are you?" } }, // waits for a worker
};

const panels = [
  new Panel($("ws"), "WebSocket", "One connection both ways, any number of rooms."),
  new Panel($("sse"), "EventSource", "Server-Sent Events. The browser reconnects by itself."),
  new Panel($("poll"), "Long-poll", "Plain requests that wait up to 25 s for news."),
];
let key = "";
let job = null; // the Job object as last seen, or null
let newest = ""; // timestamp of the newest event that gave job its status
let busy = false; // one call on a job at a time
let watching = new AbortController();
let working = null; // AbortController of the worker in this tab, or null

function note(id, text, kind = "") {
  $(id).className = `notice ${kind}`;
  $(id).textContent = text;
  $(id).hidden = text === "";
}

function buttons() {
  const status = job?.status;
  $("submit").disabled = !key;
  $("cancel").disabled = !key || !(status === "pending" || status === "processing");
  $("retry").disabled = !key || !(status === "failed" || status === "cancelled");
  $("key-forget").hidden = !key;
  $("work").disabled = !key || working !== null;
  $("worker").hidden = !job?.queue;
  // A button that is disabled under the keyboard would take the focus with it.
  if (document.activeElement?.disabled) ($("retry").disabled ? $("submit") : $("retry")).focus();
}

function showJob(next) {
  job = next;
  $("job").hidden = !job;
  $("job-id").textContent = job?.id || "";
  const status = job?.status || "";
  if ($("job-status").textContent !== status) $("job-status").textContent = status; // announced only when new
  $("job-queue").hidden = !job?.queue;
  $("job-queue-name").textContent = job?.queue || "";
  $("worker-line").textContent = job?.queue ? shellLine(job.queue) : "";
  $("job-of").hidden = !job?.retryOf;
  $("job-retry-of").textContent = job?.retryOf || "";
  buttons();
}

// shellLine is a command that works on a queue; the name of one has nothing
// that a shell would take for something else.
function shellLine(queue) {
  return `jobcast work --url ${location.origin} --queue ${queue} -- sh -c 'echo progress 50 half way; sleep 1; echo "result {}"'`;
}

function watch(next) {
  watching.abort();
  watching = new AbortController();
  panels.forEach((panel) => panel.clear());
  newest = "";
  if (!working) note("worker-note", "");
  showJob(next);
  const [ws, sse, poll] = panels;
  followWebSocket(next.id, key, ws, watching.signal);
  followEventSource(next.id, key, sse, watching.signal);
  followLongPoll(next.id, key, poll, watching.signal);
}

// The panels may be at different places: the newer event tells the status, and
// a terminal one is final.
function follow(event) {
  if (event.jobId !== job?.id || event.timestamp < newest || ["completed", "failed", "cancelled"].includes(job.status)) return;
  newest = event.timestamp;
  showJob({ ...job, status: event.status });
}

function forget() {
  watching.abort();
  working?.abort();
  sessionStorage.removeItem(keySlot);
  key = "";
  $("key").value = "";
  panels.forEach((panel) => panel.clear());
  note("key-note", "");
  note("job-note", "");
  showJob(null);
  $("key").focus();
}

// use checks a key with the cheapest call that needs one.
async function use(candidate) {
  $("key-use").disabled = true;
  $("key").value = candidate;
  note("key-note", "Checking…");
  try {
    await call(candidate, "/v1/jobs?limit=1");
    key = candidate;
    sessionStorage.setItem(keySlot, key);
    note("key-note", "The key is good. Submit a job.");
    buttons();
    $("submit").focus();
  } catch (error) {
    note("key-note", error.message, error.again ? "warn" : "bad");
    $("key").focus();
  } finally {
    $("key-use").disabled = false;
  }
}

// act runs one call on a job and hands its Job to then; refusals are shown.
async function act(path, body, then) {
  if (busy) return;
  busy = true;
  note("job-note", "");
  try {
    const options = { method: "POST", body, headers: body ? { "Content-Type": "application/json" } : {} };
    const response = await call(key, path, options);
    then(await response.json());
  } catch (error) {
    note("job-note", error.message, error.again ? "warn" : "bad");
  } finally {
    busy = false;
  }
}

// beWorker lets this tab run the next job of the queue.
async function beWorker(queue) {
  working = new AbortController();
  const { signal } = working;
  buttons();
  const say = (text, kind) => { if (!signal.aborted) note("worker-note", text, kind); };
  try {
    say(await work(key, queue, signal, say));
  } catch (error) {
    say(error.message, error.again ? "warn" : "bad");
  } finally {
    working = null;
    buttons();
  }
}

$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const candidate = $("key").value.trim();
  if (candidate) use(candidate);
  else note("key-note", "Enter a key first. The server printed one at its first start; jobcast keys create makes more.", "warn");
});

$("key-forget").addEventListener("click", forget);

$("job-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const spec = $("spec").value;
  try {
    JSON.parse(spec);
  } catch (error) {
    note("job-note", `That is not JSON: ${error.message}`, "bad");
    $("spec").focus();
    return;
  }
  act("/v1/jobs", spec, watch);
});

$("cancel").addEventListener("click", () => act(`/v1/jobs/${job.id}/cancel`, null, showJob));
$("retry").addEventListener("click", () => act(`/v1/jobs/${job.id}/retry`, null, watch));
$("work").addEventListener("click", () => beWorker(job.queue));
for (const name in samples) $(`sample-${name}`).addEventListener("click", () => showSample(name));

function showSample(name) {
  const text = JSON.stringify(samples[name], null, 2);
  $("spec").value = text.replace(/\{\s+"type": "wait",\s+"ms": 1000\s+\}/g, '{ "type": "wait", "ms": 1000 }');
}

// A link may bring the key as #key=…: a fragment is never sent to a server.
// It is taken out of the address bar before anything else happens.
function keyFromFragment() {
  const given = new URLSearchParams(location.hash.slice(1)).get("key");
  if (given) history.replaceState(null, "", location.pathname + location.search);
  return given;
}

addEventListener("hashchange", () => {
  const given = keyFromFragment();
  if (given) use(given);
});

showSample("actions");
panels.forEach((panel) => { panel.onevent = follow; });
buttons();
const first = keyFromFragment() || sessionStorage.getItem(keySlot);
if (first) use(first);

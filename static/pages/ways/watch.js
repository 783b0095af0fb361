// The same job followed over EventSource and long-poll. Every transport delivers
// the same events with the same ids, so the cursor of one would do for another.

import { at, Refusal, send } from "../../api.js";
import { backoff, pause } from "./again.js";

const terminal = new Set(["job.completed", "job.failed", "job.cancelled"]);

// An EventSource sends no headers, so a token stands in its address; long-polls send the key in one.
// Each follow function reports to a panel (see panel.js) until the job has
// ended or signal fires, and never throws.

// followEventSource leaves reconnecting to the browser. EventSource does not
// say why it was refused, so then one fetch asks for the reason.
export async function followEventSource(job, token, panel, signal) {
  for (let tries = 1; !signal.aborted; tries++) {
    panel.state(tries === 1 ? "connecting" : "reconnecting");
    const outcome = await oneEventSource(job, token, panel, signal);
    if (outcome === "ended") panel.state("ended");
    if (outcome !== "refused") return;
    try {
      await whyRefused(job, panel, signal);
    } catch (error) {
      if (!(await wait(error, tries, panel, signal))) return;
    }
  }
}

// oneEventSource resolves to "ended", "refused" or "stopped" (by signal).
function oneEventSource(job, token, panel, signal) {
  const query = new URLSearchParams({ token, conflate: "1" });
  if (panel.cursor) query.set("lastEventId", panel.cursor);
  const path = `/v1/jobs/${job}/events?${query}`;
  const source = new EventSource(at(path));
  panel.wire(">", `GET ${path.replace(/token=[^&]*/, "token=…")} (Accept: text/event-stream)`);
  return new Promise((resolve) => {
    let over = false; // the terminal event is here: a close or a 204 is the end
    let parting = false; // the server said why it will close; that text stays
    const part = (text) => { parting = true; panel.notice(text, "warn"); };
    const finish = (outcome) => { source.close(); resolve(outcome); };
    const wire = (name, m) => panel.wire("<", `${name && `event: ${name}\n`}${m.lastEventId && `id: ${m.lastEventId}\n`}data: ${m.data}`);
  const frame = (name, act) => source.addEventListener(name, (m) => {
    wire(name, m);
      if (m.lastEventId) panel.at(m.lastEventId);
      act(JSON.parse(m.data));
    });
    source.onmessage = (m) => {
    wire("", m);
      const event = JSON.parse(m.data);
      panel.event(event);
      over ||= terminal.has(event.type);
    };
    source.onerror = () => {
      if (over) finish("ended");
      else if (source.readyState === EventSource.CLOSED) finish("refused");
      else {
        panel.state("reconnecting");
        if (!parting) panel.notice("The connection broke. The browser tries again by itself.", "warn");
      }
    };
    source.onopen = () => { parting = false; panel.notice(""); };
    frame("subscribed", () => {});
    frame("live", () => panel.state("live"));
    frame("reset", (d) => panel.notice(`The stream starts over (${d.reason}).`, "warn"));
    frame("reconnect", (d) => part(`The server is restarting; coming back in ${Math.ceil(d.retryMs / 1000)} s.`));
    frame("problem", (d) => part(new Refusal(d.status, d).message));
    frame("end", () => finish("ended"));
    signal.addEventListener("abort", () => finish("stopped"), { once: true });
  });
}

// whyRefused asks for the stream once more with fetch, which shows the status.
// It returns when the stream would open now, and throws the Refusal otherwise.
async function whyRefused(job, panel, signal) {
  const probe = new AbortController();
  const stop = () => probe.abort();
  signal.addEventListener("abort", stop, { once: true });
  const query = new URLSearchParams({ conflate: "1", ...(panel.cursor && { lastEventId: panel.cursor }) });
  try {
    await send(`/v1/jobs/${job}/events?${query}`, { headers: { Accept: "text/event-stream" }, signal: probe.signal });
  } finally {
    signal.removeEventListener("abort", stop);
    stop();
  }
}

// followLongPoll asks again and again, each time from the last event it saw.
export async function followLongPoll(job, panel, signal) {
  panel.state("connecting");
  for (let tries = 0; ; ) {
    // The first request, and the first after trouble, shall tell at once how things stand.
    const settled = panel.cursor && tries === 0;
    const query = new URLSearchParams({ wait: settled ? "25" : "0", conflate: "1" });
    if (panel.cursor) query.set("lastEventId", panel.cursor);
    try {
      const path = `/v1/jobs/${job}/events?${query}`;
      panel.wire(">", `GET ${path}`);
      const text = await (await send(path, { signal })).text();
      panel.wire("<", text);
      const page = JSON.parse(text);
      page.events.forEach((event) => panel.event(event));
      if (page.lastEventId) panel.at(page.lastEventId);
      panel.notice("");
      panel.state(page.done ? "ended" : "live");
      if (page.done) return;
      tries = 0;
    } catch (error) {
      if (error.status === 410 && error.problem.lastEventId) {
        panel.notice(`The history was cut (${error.problem.reason}); going on from what is left.`, "warn");
        panel.at(error.problem.lastEventId);
      } else if (!(await wait(error, ++tries, panel, signal))) {
        return;
      }
    }
  }
}

// wait shows the error and counts down to the next try. It returns false when
// there is none: the signal fired, or trying again cannot help.
async function wait(error, tries, panel, signal) {
  if (signal.aborted) return false;
  const refusal = error instanceof Refusal ? error : new Refusal(0, {}, 0); // a body that broke off
  if (!refusal.again) {
    panel.notice(refusal.message, "bad");
    panel.state("stopped");
    return false;
  }
  panel.state("reconnecting");
  try {
    panel.notice(refusal.message, "warn");
    await pause(backoff(refusal, tries), signal, (seconds) => panel.countdown(`Next try in ${seconds} s.`));
    panel.countdown("Trying again…");
    return true;
  } catch {
    return false;
  }
}

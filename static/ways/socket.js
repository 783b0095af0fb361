// The same job followed over a WebSocket.

import { at, backoff, call, pause, Refusal, words } from "./api.js";

// followWebSocket reports to a panel (see panel.js) until the job has ended or
// signal fires, and never throws.
export async function followWebSocket(job, key, panel, signal) {
  for (let tries = 0; !signal.aborted; tries++) {
    panel.state(tries === 0 ? "connecting" : "reconnecting");
    const before = panel.cursor;
    const outcome = await oneWebSocket(job, key, panel, signal);
    if (outcome === "ended") panel.state("ended");
    if (outcome === "ended" || outcome === "stopped") return;
    if (panel.cursor !== before) tries = 0;
    if (!(await comeBack(outcome, job, key, tries + 1, panel, signal))) return;
  }
}

// oneWebSocket resolves to "ended", "stopped" (by signal), or {code, after}:
// the close code, and how long the server asked to wait, in ms.
function oneWebSocket(job, key, panel, signal) {
  const address = at(`/v1/ws?${new URLSearchParams({ apiKey: key })}`);
  address.protocol = address.protocol.replace("http", "ws");
  const socket = new WebSocket(address);
  const send = (event, data) => socket.send(JSON.stringify({ event, data }));
  return new Promise((resolve) => {
    let after = 0;
    const finish = (outcome) => { resolve(outcome); socket.close(); };
    const frames = {
      "job.event": (d) => panel.event(d),
      subscribed: (d) => panel.at(d.cursor),
      live: () => { panel.state("live"); panel.notice(""); },
      reset: (d) => { panel.notice(`The stream starts over (${d.reason}).`, "warn"); panel.at(d.cursor); },
      ping: () => send("pong", {}),
      reconnect: (d) => { after = d.retryMs; },
      end: () => finish("ended"),
      error: (d) => {
        panel.notice(words(d.status, d), "bad");
        panel.state("stopped");
        finish("stopped");
      },
    };
    socket.onopen = () => send("subscribe", { jobId: job, lastEventId: panel.cursor || undefined, conflate: true });
    socket.onmessage = (m) => {
      const { event, data } = JSON.parse(m.data);
      frames[event]?.(data);
    };
    socket.onclose = (m) => resolve({ code: m.code, after });
    signal.addEventListener("abort", () => finish("stopped"), { once: true });
  });
}

// comeBack waits for the next try. It returns false when trying again cannot
// help. A refused handshake shows no status, so one plain call asks for it.
async function comeBack({ code, after }, job, key, tries, panel, signal) {
  let refusal = new Refusal(0, {}, after);
  if (code === 1006) {
    try {
      await call(key, `/v1/jobs/${job}`, { signal });
    } catch (error) {
      if (error instanceof Refusal) refusal = error;
    }
  }
  if (signal.aborted) return false;
  if (code >= 4500 || !refusal.again) {
    panel.notice(code >= 4500 ? words(401, {}) : refusal.message, "bad");
    panel.state("stopped");
    return false;
  }
  panel.state("reconnecting");
  panel.notice(after ? "The server is restarting." : "The connection broke.", "warn");
  try {
    await pause(backoff(refusal, tries), signal, (seconds) => panel.countdown(`Next try in ${seconds} s.`));
    return true;
  } catch {
    return false;
  }
}

// The same job followed over a WebSocket.

import { at, Refusal, send } from "../../api.js";
import { backoff, pause } from "./again.js";

// followWebSocket reports to a panel (see panel.js) until the job has ended or
// signal fires, and never throws. token stands in the address: a WebSocket sends no headers.
export async function followWebSocket(job, token, panel, signal) {
  for (let tries = 0; !signal.aborted; tries++) {
    panel.state(tries === 0 ? "connecting" : "reconnecting");
    const before = panel.cursor;
    const outcome = await oneWebSocket(job, token, panel, signal);
    if (outcome === "ended") panel.state("ended");
    if (outcome === "ended" || outcome === "stopped") return;
    if (panel.cursor !== before) tries = 0;
    if (!(await comeBack(outcome, job, tries + 1, panel, signal))) return;
  }
}

// oneWebSocket resolves to "ended", "stopped" (by signal), or {code, after}:
// the close code, and how long the server asked to wait, in ms.
function oneWebSocket(job, token, panel, signal) {
  const socket = new WebSocket(at(`/v1/ws?${new URLSearchParams({ token })}`).replace("http", "ws"));
  panel.wire(">", "GET /v1/ws?token=… (Upgrade: websocket)");
  const say = (event, data) => {
    const text = JSON.stringify({ event, data });
    panel.wire(">", text);
    socket.send(text);
  };
  return new Promise((resolve) => {
    let after = 0;
    const finish = (outcome) => { resolve(outcome); socket.close(); };
    const frames = {
      "job.event": (d) => panel.event(d),
      subscribed: (d) => panel.at(d.cursor),
      live: () => { panel.state("live"); panel.notice(""); },
      reset: (d) => { panel.notice(`The stream starts over (${d.reason}).`, "warn"); panel.at(d.cursor); },
      ping: () => say("pong", {}),
      reconnect: (d) => { after = d.retryMs; },
      end: () => finish("ended"),
      error: (d) => {
        panel.notice(new Refusal(d.status, d).message, "bad");
        panel.state("stopped");
        finish("stopped");
      },
    };
    socket.onopen = () => say("subscribe", { jobId: job, lastEventId: panel.cursor || undefined, conflate: true });
    socket.onmessage = (m) => {
      panel.wire("<", m.data);
      const { event, data } = JSON.parse(m.data);
      frames[event]?.(data);
    };
    socket.onclose = (m) => resolve({ code: m.code, after });
    signal.addEventListener("abort", () => finish("stopped"), { once: true });
  });
}

// comeBack waits for the next try. It returns false when trying again cannot
// help. A refused handshake shows no status, so one plain call asks for it.
async function comeBack({ code, after }, job, tries, panel, signal) {
  let refusal = new Refusal(0, {}, after);
  if (code === 1006) {
    try {
      await send(`/v1/jobs/${job}`, { signal });
    } catch (error) {
      if (error instanceof Refusal) refusal = error;
    }
  }
  if (signal.aborted) return false;
  if (code >= 4500 || !refusal.again) {
    panel.notice(code >= 4500 ? new Refusal(401).message : refusal.message, "bad");
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

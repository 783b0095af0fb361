// The transports. Each reads for a connection until it throws why it ends.

import { changed, cut, Problem, Reconnect, silent } from "./common.js";

const maxLine = 1 << 22; // characters; lines of jobcast are far shorter

export async function websocket(conn) {
  const { api } = conn;
  let token = await api.credential();
  const given = token;
  if (token.startsWith("jc_")) { // a key stands in no URL, which proxies write down
    const body = JSON.stringify({ ttl: 60 });
    ({ token } = (await api.json("/v1/tokens", { method: "POST", body, headers: { "Content-Type": "application/json" }, signal: conn.signal }))[0]);
  }
  if (conn.signal.aborted) throw conn.signal.reason;
  const socket = new api.WebSocket(`${api.base.replace(/^http/, "ws")}/v1/ws${token && `?token=${encodeURIComponent(token)}`}`);
  conn.left = new Map(); // job id: how many answers to come are about a room that was left
  conn.greeted = () => {
    conn.send = (event, data) => socket.readyState === 1 && socket.send(JSON.stringify({ event, data }));
    // Leaving a room that is not joined is answered, and changes nothing.
    conn.ask = () => { conn.send("unsubscribe", { jobId: "-" }); conn.watchdog(api.times.answer, silent); };
    conn.heard();
    conn.changed();
  };
  try {
    await new Promise((_, reject) => {
      conn.signal.addEventListener("abort", () => reject(conn.signal.reason));
      socket.onerror = () => reject(cut);
      socket.onclose = ({ code, reason }) => reject(code === 4501 && !api.refused(given) ? new Problem({ code: "unauthenticated", detail: reason }, 401)
        : code === 4500 ? new Problem({ code: "malformed", detail: reason }, 400) : cut);
      socket.onmessage = ({ data }) => {
        if (conn.signal.aborted) return;
        try {
          const message = JSON.parse(data);
          conn.frame(message.event, message.data);
        } catch (error) {
          reject(error);
        }
      };
    });
  } finally {
    socket.onmessage = null;
    socket.close();
  }
}

export async function sse(conn) {
  const room = conn.only();
  const { cursor } = room.start;
  // A request for an event stream alone would get refusals dressed as streams.
  const headers = { Accept: "text/event-stream, application/problem+json", ...(cursor && { "Last-Event-ID": cursor }) };
  const path = conn.api.eventsPath({ job: room.job, ...room.start, conflate: room.conflate }, { heartbeat: "event" });
  const response = await conn.api.send(path, { headers, signal: conn.signal });
  if (response.status === 204) return conn.frame("subscribed", {}, room), conn.ended(room);
  if (!(response.headers.get("Content-Type") || "").startsWith("text/event-stream")) {
    response.body?.cancel().catch(() => {});
    throw new Problem({ title: "the answer is no stream of events" }, response.status);
  }
  const reader = response.body.getReader();
  const stop = () => reader.cancel().catch(() => {});
  conn.signal.addEventListener("abort", stop);
  const decoder = new TextDecoder();
  let rest = "", name = "", data = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (conn.signal.aborted) throw conn.signal.reason;
    if (done) throw cut; // what no blank line follows was cut
    const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
    rest = lines.pop();
    if (rest.length > maxLine || data.length > maxLine) throw new Error("a frame is longer than any that jobcast sends");
    for (const line of lines.map((l) => l.replace(/\r$/, ""))) {
      if (line.startsWith("event:")) name = line.slice(6).trim();
      else if (line.startsWith("data:")) data += line.slice(5);
      else if (!line) {
        if (data) conn.frame(name || "job.event", JSON.parse(data), room);
        if (conn.signal.aborted) throw conn.signal.reason;
        name = data = "";
      }
    }
  }
}

export async function poll(conn) {
  const room = conn.only();
  const place = { job: room.job, ...room.start, conflate: room.conflate };
  conn.api.clock.clearTimeout(conn.dog); // each request has its own limit
  for (let wait = 0; ;) {
    const page = await conn.api.page(place, wait, conn.signal);
    if (conn.signal.aborted) throw conn.signal.reason;
    if (!room.begun) conn.frame("subscribed", { cursor: place.cursor || (conn.shared ? page.lastEventId : "") }, room);
    if (page.reset) conn.frame("reset", page.reset, room);
    for (const event of page.events) conn.frame("job.event", event, room);
    place.cursor = page.lastEventId;
    if (page.done && room.job) conn.ended(room);
    else if (!conn.shared) for (const w of room.members) if (!w.buffer) w.cursor = page.lastEventId;
    if (conn.signal.aborted || (page.done && room.job)) throw conn.signal.reason ?? changed;
    if (page.retry) throw new Reconnect(Number(page.retry) * 1000);
    if (!page.events.length && !page.reset && !wait) {
      wait = conn.api.times.poll;
      conn.frame("live", { cursor: page.lastEventId }, room);
    } else conn.heard();
  }
}

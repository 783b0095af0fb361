// jobcast's client for pages, workers, Node 20 and later, and Bun: it submits jobs and
// watches them. It needs nothing but fetch, and a WebSocket where there is one.
//
//   import { connect } from "jobcast";
//   const jobcast = connect({ url: "https://jobs.example.com", token });
//   for await (const event of jobcast.watch(job.id)) … // ends with the job
//
// One file, because a server hands it out as one, at /client.js. In it, from the top: errors,
// requests (Api), what one reader sees (Watch), the one connection that all of them share (Link,
// Connection), and the calls (Client). The wire contract is docs/protocol.md.

/** What stands for a job's id when everything of the client is watched. */
export const all = "all";

// Times in ms, which the option `timings` may replace.
const defaults = {
  firstFrame: 2_500, // a transport that has brought nothing after this is obstructed
  silence: 20_000, // a connection that is silent for this long is asked for a sign of life
  answer: 5_000, // and has this long to give it; streams say something every 15 s by themselves
  poll: 25_000, // how long one long-poll waits; proxies cut what is idle for 30 s
  probe: 30_000, // how often a better transport is tried
  retryMin: 100, // the first wait after a failure; it doubles
  retryMax: 4_000, // up to this
  timeout: 30_000, // of one try of an ordinary request
};
const maxAskedWait = 300_000; // nobody is sent away for ever
const maxRooms = 100; // of one WebSocket
const maxFetches = 3; // of what is missing, at the same time
const maxLine = 1 << 22; // characters; lines of jobcast are far shorter

/** A refusal of the server (RFC 9457). Branch on `code`; it is empty if not jobcast answered
 * but something in front of it. */
export class Problem extends Error {
  constructor(body, status = body.status, retryAfter = 0) {
    super((body.code ? `${body.code}: ` : `HTTP status ${status}: `) + (body.detail || body.title || body.message || ""));
    Object.assign(this, { code: "", title: "", detail: "", errors: [] }, body, { name: "Problem", status, retryAfter });
  }
}

/** The server could not be reached for as long as the caller wanted to try. */
export class LostError extends Error {
  constructor(ms, cause) {
    super(`connection lost, given up after ${ms} ms: ${cause?.message ?? cause}`, { cause });
    this.name = "LostError";
  }
}

// Why a connection ends that did not fail.
const changed = new Error("another connection takes its place");
const silent = new Error("the server sends nothing");
const cut = new Error("the stream was cut");
const heardOf = new Error("the transport gets through"); // of a trial
class Reconnect extends Error {
  constructor(ms) { super("the server asked to come back"); this.ms = Math.min(Math.max(ms || 0, 0), maxAskedWait); }
}

// passing: the same request may soon succeed. A bound on jobs is no such thing, because only
// the caller can decide whether to wait until some of them end.
const passing = (error) => !(error instanceof Problem) ||
  ([408, 429, 502, 503, 504].includes(error.status) && !["job_limit", "key_limit"].includes(error.code));

// obstructed: a connection that brought nothing may have failed for its transport's sake.
const obstructed = (error) => !(error instanceof Problem) ||
  (error.code ? ["upgrade_required", "not_acceptable", "method_not_allowed"].includes(error.code) : !passing(error));

async function problemOf(response) {
  const asked = Number(response.headers.get("Retry-After")) * 1000 || 0;
  const ours = (response.headers.get("Content-Type") || "").startsWith("application/problem+json");
  const body = ours ? await response.json().catch(() => ({})) : (response.body?.cancel().catch(() => {}), {});
  return new Problem({ title: response.statusText, ...body }, response.status, Math.min(asked, maxAskedWait));
}

const terminal = (event) => ["job.completed", "job.failed", "job.cancelled"].includes(event.type);
// A text that cannot be an id is replaced by one that no job has: a 404, and no other path.
const jobPath = (id) => `/v1/jobs/${/^[\w-]+$/.test(id) ? id : "-"}`;

/** Aborts with signal, and returns a function that lets go of it. */
function follow(signal, controller) {
  if (!signal) return () => {};
  const abort = () => controller.abort(signal.reason);
  if (signal.aborted) abort();
  signal.addEventListener("abort", abort);
  return () => signal.removeEventListener("abort", abort);
}

// --- Requests ---------------------------------------------------------------------------

class Api {
  constructor(o) {
    const here = globalThis.location?.origin;
    const own = import.meta.url?.startsWith("http") ? new URL(".", import.meta.url).href : "http://localhost:3000";
    const url = new URL(o.url ?? own, here?.startsWith("http") ? here : undefined);
    if (!/^https?:$/.test(url.protocol) || url.search || url.hash || url.username) {
      throw new TypeError("url: want http://host:port or https://host, without credentials or query");
    }
    if (o.key && o.token) throw new TypeError("key and token: want one of them");
    this.base = url.href.replace(/\/+$/, "");
    this.ask = typeof o.token === "function" ? o.token : null;
    const given = this.ask ? "" : (o.key ?? o.token ?? "").trim();
    if (/[^!-~]/.test(given)) throw new TypeError("key: has characters that no key has");
    this.given = given;
    this.giveUp = o.giveUp ?? 60_000;
    this.times = { ...defaults, ...o.timings };
    this.random = o.random ?? Math.random;
    this.clock = o.clock ?? { now: () => Date.now(), setTimeout: (f, ms) => setTimeout(f, ms), clearTimeout: (id) => clearTimeout(id) };
    this.fetch = o.fetch ?? ((...args) => globalThis.fetch(...args));
    this.WebSocket = o.WebSocket === undefined ? globalThis.WebSocket : o.WebSocket;
  }

  // credential resolves to the key or token to send. One of the callback's is kept until it is
  // refused, or until shortly before the end that the callback has told.
  async credential() {
    if (!this.ask) return this.given;
    if (this.kept && !(this.kept.until < this.clock.now())) return this.kept.token;
    this.asking ??= Promise.resolve(this.ask()).then((got) => {
      const { token, expiresAt } = typeof got === "string" ? { token: got } : got;
      return (this.kept = { token: token.trim(), until: expiresAt ? Date.parse(expiresAt) - 5_000 : Infinity }).token;
    }).finally(() => { this.asking = null; });
    return this.asking;
  }

  // refused forgets a token of the callback's; false: there is no other to be had.
  refused(token) {
    if (this.kept?.token === token) this.kept = null;
    return !!this.ask;
  }

  // send makes one request and resolves to a good Response, or rejects with a Problem or what fetch says.
  async send(path, init = {}) {
    for (let first = true; ; first = false) {
      const token = await this.credential();
      const headers = { ...(token && { Authorization: `Bearer ${token}` }), ...init.headers };
      const response = await this.fetch(this.base + path, { cache: "no-store", ...init, headers });
      if (response.ok) return response;
      const problem = await problemOf(response);
      if (problem.status !== 401 || !this.refused(token) || !first) throw problem;
    }
  }

  // json makes one request with a time limit and resolves to its answer.
  async json(path, { signal, timeout = this.times.timeout, ...init } = {}) {
    const controller = new AbortController();
    const release = follow(signal, controller);
    const timer = this.clock.setTimeout(() => controller.abort(new Error("the request took too long")), timeout);
    try {
      const response = await this.send(path, { ...init, signal: controller.signal });
      const text = await response.text();
      try {
        return [JSON.parse(text), response];
      } catch {
        throw new Problem({ title: "the answer is not what jobcast sends" }, response.status);
      }
    } finally {
      this.clock.clearTimeout(timer);
      release();
    }
  }

  // call repeats a request that is safe to repeat, while the server is not available.
  async call(path, init = {}, giveUp = this.giveUp) {
    const patience = new Patience(this);
    for (;;) {
      try {
        return (await this.json(path, init))[0];
      } catch (error) {
        if (init.signal?.aborted) throw init.signal.reason;
        if (!passing(error)) throw error;
        const wait = patience.next(error);
        const gone = this.clock.now() - patience.since;
        if (giveUp >= 0 && gone + wait > giveUp) throw new LostError(gone, error);
        await this.pause(wait, init.signal);
      }
    }
  }

  post(path, body, { signal, idempotencyKey } = {}) {
    const headers = { "Content-Type": "application/json", ...(idempotencyKey && { "Idempotency-Key": idempotencyKey }) };
    return this.call(path, { method: "POST", headers, body, signal });
  }

  // eventsPath is where a room is read from a place on.
  eventsPath({ job, cursor, from, conflate }, more = {}) {
    const query = new URLSearchParams({ ...more, ...(!cursor && from && { from }), ...(conflate && { conflate: "1" }) });
    return `${job ? jobPath(job) : "/v1"}/events?${query}`;
  }

  // page makes one long-poll. What follows a cursor that is gone is told as `reset`.
  async page(start, wait, signal) {
    const ms = Math.floor(wait / 1000);
    try {
      const [page, response] = await this.json(this.eventsPath(start, ms ? { wait: String(ms) } : {}), {
        signal, timeout: wait + this.times.timeout,
        headers: { Accept: "application/json", ...(start.cursor && { "Last-Event-ID": start.cursor }) },
      });
      if (!Array.isArray(page.events)) throw new Problem({ title: "the answer is not what jobcast sends" }, response.status);
      return { ...page, retry: response.headers.get("Retry-After") };
    } catch (error) {
      if (error.code !== "cursor_gone") throw error;
      const reset = { room: start.job ? `job:${start.job}` : "client", reason: error.reason, oldest: error.oldest, cursor: error.lastEventId };
      return { events: [], lastEventId: error.lastEventId, reset };
    }
  }

  // pause waits, until signal says otherwise; cuttable gets a function that ends it early.
  pause(ms, signal, cuttable = () => {}) {
    return new Promise((resolve, reject) => {
      const end = (settle, value) => {
        this.clock.clearTimeout(timer);
        signal?.removeEventListener("abort", abort);
        settle(value);
      };
      const abort = () => end(reject, signal.reason);
      const timer = this.clock.setTimeout(() => end(resolve), ms);
      if (signal?.aborted) return abort();
      signal?.addEventListener("abort", abort);
      cuttable(() => end(resolve));
    });
  }
}

// Patience says how long to wait before the next try: from retryMin to retryMax, the half to
// the whole of it by chance, and no less than the server asked for.
class Patience {
  constructor(api) {
    this.api = api;
    this.success();
  }

  success() {
    this.step = this.api.times.retryMin;
    this.since = this.api.clock.now();
  }

  next(error) {
    const { random, times } = this.api;
    const chance = random();
    const wait = Math.max(this.step * (0.5 + chance / 2), (error?.retryAfter || 0) * (1 + chance / 10));
    this.step = Math.min(this.step * 2, times.retryMax);
    return wait;
  }
}

// --- Readers ----------------------------------------------------------------------------

/** One reader of a job, or of everything. It begins at once. Its place is its cursor, which is
 * good on every transport. */
class Watch {
  constructor(link, job, o) {
    this.job = job === all ? "" : String(job).toLowerCase();
    this.link = link;
    this.cursor = o.after ?? "";
    this.from = o.from ?? "";
    this.conflate = !!o.conflate;
    this.giveUp = o.giveUp ?? -1;
    this.since = link.api.clock.now();
    this.o = o;
    this.queue = []; // events that nobody has asked for yet
    this.done = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));
    this.done.catch(() => {}); // whoever wants to know asks
    this.controller = new AbortController();
    this.release = follow(o.signal, this.controller);
    if (this.controller.signal.aborted) return this.fail(o.signal.reason);
    this.controller.signal.addEventListener("abort", () => this.fail(this.controller.signal.reason));
    link.add(this);
  }

  /** Ends the watch. */
  close() { this.finish("closed", this.resolve); }

  // take gets an event of the connection's, in the order of the log.
  take(event) {
    if (this.buffer) this.buffer.push(event); // what is missing in front of it is being fetched
    else if (!this.seen?.has(event.id)) {
      this.seen = null; // a new one: all that was fetched is behind
      this.give(event);
    }
  }

  give(event) {
    if (this.over) return;
    this.cursor = event.id;
    this.emit(event);
    if (this.job && terminal(event)) this.finish("ended", this.resolve);
  }

  reset(data) {
    if (this.over) return;
    this.cursor = data.cursor;
    this.emit({ id: data.cursor, type: "reset", ...(this.job && { jobId: this.job }), data });
  }

  emit(event) {
    if (!this.o.onEvent) {
      const { type, jobId, data } = event;
      const same = (e) => e.type === type && e.jobId === jobId && e.data?.attempt === data?.attempt;
      if (this.conflate && type === "job.progress" && same(this.queue.at(-1) ?? {})) this.queue.pop();
      this.queue.push(event);
      return this.wake?.();
    }
    try {
      this.o.onEvent(event);
    } catch (error) {
      this.fail(error);
    }
  }

  say(notice) {
    try {
      this.o.onState?.(notice);
    } catch (error) {
      this.fail(error);
    }
  }

  fail(error) { this.finish("failed", () => { this.reject(error); this.error = { error }; }, error); }

  finish(state, settle, error) {
    if (this.over) return;
    this.over = true;
    this.release();
    this.link.remove(this);
    settle();
    this.wake?.();
    this.say({ state, ...(error && { error }) });
  }

  async *[Symbol.asyncIterator]() {
    try {
      for (;;) {
        while (this.queue.length) yield this.queue.shift();
        if (this.error) throw this.error.error;
        if (this.over) return;
        await new Promise((resolve) => { this.wake = resolve; });
      }
    } finally {
      this.close();
    }
  }
}

// --- The connection ---------------------------------------------------------------------

// Link keeps one connection for all watches: as good a transport as gets through.
class Link {
  constructor(api) {
    this.api = api;
    this.watches = new Set();
    this.order = ["websocket", "sse", "poll"].filter((t) => t !== "websocket" || api.WebSocket);
    this.at = 0; // of order: what is used, or tried next
    this.good = 0; // what last got through
    this.blocked = this.stalls = 0; // how many in a row brought nothing; fell silent
    this.patience = new Patience(api);
    this.shared = null; // {cursor, members}: where a connection stood that carried all jobs at once
  }

  add(watch) {
    this.watches.add(watch);
    if (!this.running) this.run();
    else this.conn?.changed();
  }

  remove(watch) {
    this.watches.delete(watch);
    // A page that leaves one watch often begins another at once.
    if (this.running) this.api.clock.setTimeout(() => (this.watches.size ? this.conn?.changed() : this.stop()), 0);
  }

  stop() {
    this.conn?.end(changed);
    this.skip?.();
  }

  async run() {
    this.running = true;
    this.patience.success();
    const unhear = this.hear();
    while (this.watches.size) {
      const conn = this.conn = new Connection(this, this.order[this.at]);
      const probing = this.at > 0 && this.probeLater();
      const error = await conn.run();
      this.conn = null;
      if (probing) probing.abort();
      if (error !== changed && this.watches.size) await this.settle(conn, error);
    }
    unhear();
    this.running = false;
  }

  // settle decides, after a connection has ended with error, what comes next and when.
  async settle(conn, error) {
    const n = this.order.length;
    this.stalls = error === silent && conn.through ? this.stalls + 1 : 0;
    if (conn.through) this.blocked = 0;
    if (this.stalls > 1 || (!conn.through && obstructed(error))) {
      this.at = (this.at + 1) % n;
      this.stalls = 0;
      if (++this.blocked < n) return;
      this.blocked = 0;
    } else if (!conn.through) {
      this.at = this.good;
    }
    if (!passing(error)) return this.refuse(conn, error);
    let wait = this.patience.next(error);
    if (error instanceof Reconnect) {
      wait = error.ms * (1 + this.api.random() / 10) + this.api.random() * 50;
      this.patience.since = this.api.clock.now() + wait;
    } else if (globalThis.navigator?.onLine === false) {
      wait = Math.max(wait, this.api.times.probe); // or until the browser says that it is online
    }
    const now = this.api.clock.now();
    for (const w of [...this.watches]) {
      const gone = now - Math.max(w.since, this.patience.since);
      if (w.giveUp >= 0 && gone + wait > w.giveUp) w.fail(new LostError(gone, error));
      else w.say({ state: "lost", transport: conn.transport, error, wait });
    }
    if (this.watches.size) await this.api.pause(wait, null, (skip) => { this.skip = skip; });
    this.skip = null;
  }

  // refuse ends the watches that a refusal is about. One of the client's whole log, which this
  // connection has read for several jobs, may be about none of them, or about some.
  async refuse(conn, problem) {
    const before = this.watches.size;
    if (conn.shared) {
      await Promise.all([...this.watches].filter((w) => w.job).map((w) => this.api.call(jobPath(w.job), {}, 0).catch((e) => passing(e) || w.fail(e))));
    }
    if (before !== this.watches.size) return;
    for (const w of [...this.watches]) if (conn.shared || !conn.rooms.size || conn.rooms.has(w.job)) w.fail(problem);
  }

  // probeLater tries better transports now and then.
  probeLater() {
    const { api } = this;
    const controller = new AbortController();
    (async () => {
      for (;;) {
        await api.pause(api.times.probe * (0.75 + api.random() / 2), controller.signal, (skip) => { this.probeNow = skip; });
        for (let i = 0; i < this.at; i++) {
          const trial = new Connection(this, this.order[i], true);
          const release = follow(controller.signal, trial.controller);
          const got = await trial.run();
          release();
          if (controller.signal.aborted || !this.conn) return;
          if (got !== heardOf) continue;
          this.at = i;
          return this.conn.end(changed);
        }
      }
    })().catch(() => {}); // it was aborted
    return controller;
  }

  // hear listens to what the browser knows of the network and of the page.
  hear() {
    const { document } = globalThis; // workers have none
    const online = () => { this.skip?.(); this.conn?.check(true); this.probeNow?.(); };
    const shown = () => { if (!document.hidden) { this.skip?.(); this.conn?.check(false); } };
    globalThis.addEventListener?.("online", online);
    document?.addEventListener("visibilitychange", shown);
    return () => {
      globalThis.removeEventListener?.("online", online);
      document?.removeEventListener("visibilitychange", shown);
    };
  }
}

// Connection is one connection over one transport. It carries rooms: on WebSocket up to a
// hundred, else one. More jobs than that share the client's whole log, and pick theirs (shared).
//
// A room begins where the first of its watches wants to. A watch that wants to begin elsewhere
// fetches what it lacks with ordinary requests, while what the room brings is kept for it;
// what came on both ways is known by its id.
class Connection {
  constructor(link, transport, trial = false) {
    Object.assign(this, { link, api: link.api, transport, trial });
    this.controller = new AbortController();
    this.signal = this.controller.signal;
    this.rooms = new Map(); // by job id, "" is everything; {job, asked, live, members, start}
    this.through = false; // it has brought a frame
    this.catching = [];
    this.turn = 0;
    this.shared = this.jobs().size > this.max();
  }

  jobs() { return new Set([...this.link.watches].filter((w) => !w.buffer).map((w) => w.job)); }

  max() { return this.transport === "websocket" ? maxRooms : 1; }

  end(error) { this.controller.abort(error); }

  // run resolves to why the connection has ended.
  async run() {
    const { api, signal } = this;
    this.watchdog(api.times.firstFrame, silent);
    try {
      await this[this.transport]();
    } catch (error) {
      return signal.aborted ? signal.reason : error;
    } finally {
      api.clock.clearTimeout(this.dog);
      this.end(cut); // what it has begun ends with it
      if (!this.trial) this.forget();
    }
    return cut;
  }

  // forget gives up what was being fetched: the next connection begins it anew.
  forget() {
    for (const w of this.link.watches) {
      if (w.buffer) this.link.shared?.members.delete(w);
      w.buffer = w.seen = null;
    }
  }

  watchdog(ms, error) {
    this.api.clock.clearTimeout(this.dog);
    this.dog = this.api.clock.setTimeout(() => (this.ask && error !== silent ? this.ask() : this.end(silent)), ms);
  }

  // heard notes a sign of life. On WebSocket silence is answered by a question, else it is the end.
  heard() {
    const { silence, answer } = this.api.times;
    if (!this.through) {
      this.through = true;
      if (this.trial) throw (this.end(heardOf), heardOf);
      this.link.good = this.link.at;
    }
    this.last = this.api.clock.now();
    if (this.transport !== "poll") this.watchdog(this.ask ? silence : silence + answer, this.ask ? null : silent);
  }

  // check is called when the network or the page is back.
  check(network) {
    const { silence } = this.api.times;
    if (this.ask) this.ask();
    else if (network || (this.transport === "sse" && this.api.clock.now() - this.last > silence)) this.end(changed);
  }

  // changed is called when a watch came or went.
  changed() {
    if (!this.through || this.signal.aborted) return; // all of them are looked at once it is, or by the next one
    const jobs = this.shared ? new Set([""]) : this.jobs();
    const plain = [...this.link.watches].some((w) => !w.conflate && this.rooms.get(this.shared ? "" : w.job)?.conflate);
    if (jobs.size > this.max() || plain || (!this.send && !this.shared && ![...jobs].every((j) => this.rooms.has(j)))) return this.end(changed);
    for (const room of this.rooms.values()) if (room.live) for (const w of this.of(room)) this.catchUp(room, w);
    if (!this.send) return;
    for (const room of this.rooms.values()) {
      if (!this.shared && !this.of(room).length) {
        this.rooms.delete(room.job);
        this.left.set(room.job, (this.left.get(room.job) ?? 0) + room.asked);
        this.send("unsubscribe", { jobId: room.job || undefined });
      }
    }
    for (const job of jobs) if (!this.rooms.has(job)) this.join(job);
  }

  of(room) { return [...this.link.watches].filter((w) => this.shared || w.job === room.job); }

  // room plans a room: where it starts, and who begins there.
  room(job, asked = 1) {
    const room = { job, asked, live: false, members: new Set(), conflate: false };
    const all = this.of(room);
    room.conflate = all.length > 0 && all.every((w) => w.conflate);
    if (this.trial) room.start = { cursor: "", from: "now" };
    else if (this.shared) room.start = this.link.shared ? { cursor: this.link.shared.cursor, from: "" } : { cursor: "", from: "now" };
    else {
      const { cursor, from } = all.find((w) => !w.buffer) ?? all[0];
      room.start = { cursor, from };
    }
    this.rooms.set(job, room);
    return room;
  }

  // begin attaches the watches that start where the room does.
  begin(room, cursor) {
    if (room.begun) return room.members.forEach((w) => cursor && !w.buffer && (w.cursor = cursor));
    room.begun = true;
    const { start } = room;
    const resumed = this.shared && this.link.shared?.members;
    for (const w of this.of(room)) {
      if (w.buffer || (this.shared ? !resumed?.has(w) : w.cursor !== start.cursor || w.from !== start.from)) continue;
      room.members.add(w);
      if (cursor && !this.shared) w.cursor = cursor;
      w.say({ state: "connected", transport: this.transport });
    }
    if (this.shared) this.link.shared = { cursor, members: room.members };
    else this.link.shared = null;
    if (!this.send) this.changed(); // watches may have come meanwhile
  }

  // frame takes a control frame or an event; only is the room of transports that have one.
  frame(name, data, only) {
    this.heard();
    const room = only ?? this.rooms.get(data?.room?.startsWith("job:") ? data.room.slice(4) : "");
    switch (name) {
      case "job.event": return this.event(data, only);
      case "connected": return this.greeted?.(data);
      case "subscribed": return this.subscribed(room, data);
      case "unsubscribed": return;
      case "live": return room?.begun && this.live(room, data.cursor);
      case "reset": return room?.begun && this.resetRoom(room, data);
      case "end": return this.ended(only ?? this.rooms.get(data.jobId));
      case "reconnect": throw new Reconnect(data.retryMs);
      case "ping": return this.send?.("pong", {});
      case "problem": throw new Problem(data);
      case "error": return this.refused(data);
    } // what a later server may say
  }

  subscribed(room, data) {
    const job = room?.job ?? data.jobId ?? "";
    if (this.left?.get(job) > 0) return this.left.set(job, this.left.get(job) - 1); // of a room that was left before
    if (!room) return;
    room.asked = 0;
    if (this.send) this.replaying = room;
    this.begin(room, data.cursor);
  }

  event(event, only) {
    const rooms = only ? [only] : this.replaying ? [this.replaying] : [this.rooms.get(""), this.rooms.get(event.jobId)];
    this.link.patience.success();
    if (this.shared && this.link.shared) this.link.shared.cursor = event.id;
    for (const room of rooms) for (const w of room?.members ?? []) if (!w.job || w.job === event.jobId) w.take(event);
  }

  live(room, cursor) {
    if (this.replaying === room) this.replaying = null;
    this.link.patience.success();
    room.live = true;
    for (const w of room.members) if (!w.buffer) {
      if (!this.shared) w.cursor = cursor;
      w.say({ state: "live", transport: this.transport });
    }
    if (this.shared && this.link.shared) this.link.shared.cursor = cursor;
    for (const w of this.of(room)) this.catchUp(room, w);
  }

  resetRoom(room, data) {
    if (!this.shared && ![...room.members].some((w) => w.buffer)) return room.members.forEach((w) => w.reset(data));
    this.link.shared = null; // each of them finds out by itself what it has missed
    this.end(changed);
  }

  ended(room) {
    if (!room?.job || !room.begun) return; // what ends before it begins is a room that was left before
    if (this.replaying === room) this.replaying = null;
    this.rooms.delete(room.job);
    for (const w of room.members) if (!w.buffer) w.finish("ended", w.resolve);
  }

  refused(data) {
    const problem = new Problem(data);
    if (data.ref?.event !== "subscribe" || passing(problem)) throw problem;
    const job = data.ref.jobId ?? "";
    if (this.left.get(job) > 0) return this.left.set(job, this.left.get(job) - 1);
    const room = this.rooms.get(job);
    if (this.shared || !room) throw problem;
    this.rooms.delete(job);
    if (this.replaying === room) this.replaying = null;
    for (const w of this.of(room)) w.fail(problem);
  }

  // catchUp brings a watch to where its room is. A few at a time: a browser has few connections.
  async catchUp(room, w) {
    if (w.buffer || w.over || room.members.has(w)) return;
    w.buffer = [];
    w.seen = new Set();
    room.members.add(w);
    const before = this.catching[this.turn = (this.turn + 1) % maxFetches];
    this.catching[this.turn] = (async () => {
      await before;
      await this.fetch(w);
    })();
  }

  async fetch(w) {
    if (this.signal.aborted) return;
    w.say({ state: "connected", transport: this.transport });
    const patience = new Patience(this.api);
    while (!w.over && !this.signal.aborted) {
      try {
        const page = await this.api.page({ job: w.job, cursor: w.cursor, from: w.from }, 0, this.signal);
        if (this.signal.aborted) return;
        if (page.reset) w.reset(page.reset);
        for (const event of page.events) {
          w.seen.add(event.id);
          w.give(event);
        }
        w.cursor = page.lastEventId;
        if (page.done && w.job) return w.finish("ended", w.resolve);
        if (page.events.length || page.reset) continue;
        const kept = w.buffer;
        w.buffer = null;
        w.say({ state: "live", transport: this.transport });
        return kept.forEach((event) => w.take(event));
      } catch (error) {
        if (this.signal.aborted) return;
        if (!passing(error)) return w.fail(error);
        await this.api.pause(patience.next(error), this.signal).catch(() => {});
      }
    }
  }

  // --- Transports: each reads until it throws why it ends.

  async websocket() {
    const { api } = this;
    let token = await api.credential();
    const given = token;
    if (token.startsWith("jc_")) { // a key stands in no URL, which proxies write down
      const body = JSON.stringify({ ttl: 60 });
      ({ token } = (await api.json("/v1/tokens", { method: "POST", body, headers: { "Content-Type": "application/json" }, signal: this.signal }))[0]);
    }
    if (this.signal.aborted) throw this.signal.reason;
    const socket = new api.WebSocket(`${api.base.replace(/^http/, "ws")}/v1/ws${token && `?token=${encodeURIComponent(token)}`}`);
    this.left = new Map(); // job id: how many answers to come are about a room that was left
    this.greeted = () => {
      this.send = (event, data) => socket.readyState === 1 && socket.send(JSON.stringify({ event, data }));
      // Leaving a room that is not joined is answered, and changes nothing.
      this.ask = () => { this.send("unsubscribe", { jobId: "-" }); this.watchdog(api.times.answer, silent); };
      this.heard();
      this.changed();
    };
    try {
      await new Promise((_, reject) => {
        this.signal.addEventListener("abort", () => reject(this.signal.reason));
        socket.onerror = () => reject(cut);
        socket.onclose = ({ code, reason }) => reject(code === 4501 && !api.refused(given) ? new Problem({ code: "unauthenticated", detail: reason }, 401)
          : code === 4500 ? new Problem({ code: "malformed", detail: reason }, 400) : cut);
        socket.onmessage = ({ data }) => {
          if (this.signal.aborted) return;
          try {
            const message = JSON.parse(data);
            this.frame(message.event, message.data);
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

  join(job) {
    const { start, conflate } = this.room(job);
    this.send("subscribe", { jobId: job || undefined, lastEventId: start.cursor || undefined, from: (!start.cursor && start.from) || undefined, conflate });
  }

  only() { return this.room(this.shared ? "" : [...this.jobs()][0] ?? ""); }

  async sse() {
    const room = this.only();
    const { cursor } = room.start;
    // A request for an event stream alone would get refusals dressed as streams.
    const headers = { Accept: "text/event-stream, application/problem+json", ...(cursor && { "Last-Event-ID": cursor }) };
    const path = this.api.eventsPath({ job: room.job, ...room.start, conflate: room.conflate }, { heartbeat: "event" });
    const response = await this.api.send(path, { headers, signal: this.signal });
    if (response.status === 204) return this.frame("subscribed", {}, room), this.ended(room);
    if (!(response.headers.get("Content-Type") || "").startsWith("text/event-stream")) {
      response.body?.cancel().catch(() => {});
      throw new Problem({ title: "the answer is no stream of events" }, response.status);
    }
    const reader = response.body.getReader();
    const stop = () => reader.cancel().catch(() => {});
    this.signal.addEventListener("abort", stop);
    const decoder = new TextDecoder();
    let rest = "", name = "", data = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (this.signal.aborted) throw this.signal.reason;
      if (done) throw cut; // what no blank line follows was cut
      const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
      rest = lines.pop();
      if (rest.length > maxLine || data.length > maxLine) throw new Error("a frame is longer than any that jobcast sends");
      for (const line of lines.map((l) => l.replace(/\r$/, ""))) {
        if (line.startsWith("event:")) name = line.slice(6).trim();
        else if (line.startsWith("data:")) data += line.slice(5);
        else if (!line) {
          if (data) this.frame(name || "job.event", JSON.parse(data), room);
          if (this.signal.aborted) throw this.signal.reason;
          name = data = "";
        }
      }
    }
  }

  async poll() {
    const room = this.only();
    const place = { job: room.job, ...room.start, conflate: room.conflate };
    this.api.clock.clearTimeout(this.dog); // each request has its own limit
    for (let wait = 0; ;) {
      const page = await this.api.page(place, wait, this.signal);
      if (this.signal.aborted) throw this.signal.reason;
      if (!room.begun) this.frame("subscribed", { cursor: place.cursor || (this.shared ? page.lastEventId : "") }, room);
      if (page.reset) this.frame("reset", page.reset, room);
      for (const event of page.events) this.frame("job.event", event, room);
      place.cursor = page.lastEventId;
      if (page.done && room.job) this.ended(room);
      else if (!this.shared) for (const w of room.members) if (!w.buffer) w.cursor = page.lastEventId;
      if (this.signal.aborted || (page.done && room.job)) throw this.signal.reason ?? changed;
      if (page.retry) throw new Reconnect(Number(page.retry) * 1000);
      if (!page.events.length && !page.reset && !wait) {
        wait = this.api.times.poll;
        this.frame("live", { cursor: page.lastEventId }, room);
      } else this.heard();
    }
  }
}

// --- Calls ------------------------------------------------------------------------------

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
    return this.#api.post("/v1/jobs", JSON.stringify(job), { idempotencyKey: crypto.randomUUID?.() ?? this.#unique(), ...o });
  }

  get(id, o = {}) { return this.#api.call(jobPath(id), { signal: o.signal }); }

  cancel(id, o = {}) { return this.#api.post(`${jobPath(id)}/cancel`, "{}", o); }

  /** Makes a new job from one that failed or was cancelled. */
  retry(id, o = {}) {
    return this.#api.post(`${jobPath(id)}/retry`, "{}", { idempotencyKey: crypto.randomUUID?.() ?? this.#unique(), ...o });
  }

  /** Waits for the end of a job and resolves to it, however it ended. */
  async wait(id, o = {}) {
    await this.watch(id, { from: "now", giveUp: o.giveUp, signal: o.signal, onEvent: () => {} }).done;
    return this.get(id, o);
  }

  /** Ends all watches. */
  close() { for (const w of [...this.#link.watches]) w.close(); }

  #unique() { // without a secure context there is no randomUUID
    return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
  }
}

/** Makes a client. It connects when it is first needed. */
export function connect(options = {}) { return new Client(options); }

import { follow, jobPath, LostError, maxAskedWait, passing, Problem, problemOf } from "./common.js";

// Times in ms, which the option `timings` may replace.
const defaults = {
  firstFrame: 2_500, // a transport that has brought nothing after this is obstructed
  silence: 20_000, // a connection that is silent for this long is asked for a sign of life
  answer: 5_000, // and has this long to give it; streams say something every 15 s by themselves
  poll: 25_000, // how long one long-poll waits; proxies cut what is idle for 30 s
  tab: 5_000, // a leading tab that is silent for this long is asked whether it is there
  probe: 30_000, // how often a better transport is tried
  retryMin: 100, // the first wait after a failure; it doubles
  retryMax: 4_000, // up to this
  timeout: 30_000, // of one try of an ordinary request
};

export class Api {
  constructor(o) {
    const here = globalThis.location?.origin;
    const url = new URL(o.url, here?.startsWith("http") ? here : undefined);
    if (!/^https?:$/.test(url.protocol) || url.search || url.hash || url.username) {
      throw new TypeError("url: want http://host:port or https://host, without credentials or query");
    }
    if (o.key && o.token) throw new TypeError("key and token: want one of them");
    this.base = url.href.replace(/\/+$/, "");
    this.ask = typeof o.token === "function" ? o.token : null;
    const given = this.ask ? "" : (o.key ?? o.token ?? "").trim();
    if (/[^!-~]/.test(given)) throw new TypeError("key: has characters that no key has");
    this.given = given;
    this.share = o.share ?? true;
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
      this.kept = { token: token.trim(), until: expiresAt ? Date.parse(expiresAt) - 5_000 : Infinity };
      this.renewed?.(this.kept.token);
      return this.kept.token;
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
export class Patience {
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

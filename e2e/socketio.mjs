// Servers of their own, which a test may kill and start again, and the official
// Socket.IO client with everything it heard.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { io } from "socket.io-client";
import { patience, pause, until } from "./jobcast.mjs";

const binary = process.env.JOBCAST_BINARY;
const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(JOBCAST_|MAX_CONNECTIONS)/.test(name)));

// freePort returns one that no outgoing connection is given, so that a server
// finds its port free when it comes back.
async function freePort() {
  for (;;) {
    const port = 15_000 + Math.floor(Math.random() * 15_000);
    const probe = net.createServer();
    const free = await new Promise((resolve) => {
      probe.on("error", () => resolve(false));
      probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(true)));
    });
    if (free) return port;
  }
}

// Server is one `jobcast serve`. Started again it has the same folder and port.
export class Server {
  // start serves an empty folder until test t (or a suite's hooks) ends it.
  static async start(t, ...flags) {
    const server = new Server();
    server.data = mkdtempSync(join(process.env.SCRATCH, "data-"));
    server.port = await freePort();
    server.url = `http://127.0.0.1:${server.port}`;
    server.flags = flags;
    server.output = "";
    t.after(() => server.finish());
    await server.start();
    return server;
  }

  async start() {
    this.process = spawn(binary, ["serve", `--addr=127.0.0.1:${this.port}`, `--data=${this.data}`, "--shutdown-grace=1s",
      "--log-level=warn", ...this.flags], { env: environment, stdio: ["ignore", "pipe", "pipe"] });
    const mine = this.process;
    for (const out of [mine.stdout, mine.stderr]) out.on("data", (chunk) => { this.output += chunk; });
    this.over = once(mine, "exit").then(([code, signal]) => signal ?? code);
    await until("the server is ready", async () => {
      assert.equal(mine.exitCode, null, this.output);
      return (await this.call("GET", "/readyz").catch(() => undefined))?.status === 200;
    });
  }

  // kill ends it as a power cut of the program would.
  async kill() {
    this.process.kill("SIGKILL");
    assert.equal(await this.over, "SIGKILL");
  }

  // stop lets it drain.
  async stop() {
    this.process.kill("SIGTERM");
    assert.equal(await this.over, 0, this.output);
  }

  async finish() {
    if (this.process.exitCode === null && this.process.signalCode === null) await this.stop();
    assert.doesNotMatch(this.output, /panic|DATA RACE/);
  }

  // key makes a key of a client.
  async key(client, ...flags) {
    const { stdout } = await promisify(execFile)(binary, ["keys", "create", `--client=${client}`, `--data=${this.data}`, ...flags],
      { env: environment });
    return stdout.trim();
  }

  // call makes one request on a connection of its own.
  call(method, path, key, body, headers = {}) {
    return new Promise((resolve, reject) => {
      const request = http.request(this.url + path, {
        method, agent: false, timeout: patience,
        headers: { ...key && { "X-API-Key": key }, ...body && { "Content-Type": "application/json" }, ...headers },
      }, async (response) => {
        try {
          let text = "";
          for await (const chunk of response.setEncoding("utf8")) text += chunk;
          const json = /json/.test(response.headers["content-type"]) ? JSON.parse(text) : undefined;
          resolve({ status: response.statusCode, text, json });
        } catch (error) {
          reject(error);
        }
      });
      request.on("timeout", () => request.destroy(new Error(`${method} ${path} took too long`)));
      request.on("error", reject);
      request.end(body && JSON.stringify(body));
    });
  }

  // ask is call for what must succeed.
  async ask(...args) {
    const answer = await this.call(...args);
    assert.ok(answer.status < 300, `${args[0]} ${args[1]}: ${answer.status} ${answer.text}`);
    return answer.json;
  }

  submit(key, spec) {
    return this.ask("POST", "/v1/jobs", key, spec);
  }

  // work submits a job whose life the test itself writes, and claims it.
  async work(key) {
    const queue = `q${Math.random().toString(36).slice(2)}`;
    await this.submit(key, { queue, payload: null });
    const { jobs: [job] } = await this.ask("POST", "/v1/workers/claim", key, { queues: [queue], wait: 10, leaseMs: 600_000 });
    const lease = { "X-Lease-Token": job.lease.token };
    let reported = 0;
    return {
      id: job.id,
      report: (n = 1) => this.ask("POST", `/v1/jobs/${job.id}/progress`, key,
        Array.from({ length: n }, () => ({ progress: 50, message: `report ${++reported}` })), lease),
      complete: () => this.ask("POST", `/v1/jobs/${job.id}/complete`, key, {}, lease),
    };
  }

  // history returns the ids of all events of a job, or of everything, as they
  // stand in the log.
  async history(key, job) {
    const ids = [];
    for (let last = "0-0"; ;) {
      const page = await this.ask("GET", `/v1/${job ? `jobs/${job}/` : ""}events?lastEventId=${last}`, key, undefined, { Accept: "application/json" });
      if (page.events.length === 0) return ids;
      ids.push(...page.events.map((e) => e.id));
      last = page.lastEventId;
    }
  }
}

// sameEvents asserts that ids are exactly those of the log, and says briefly how
// they are not.
export function sameEvents(ids, log, who) {
  const known = new Set(log), seen = new Set(ids);
  const wrong = {
    missed: log.filter((id) => !seen.has(id)), strange: ids.filter((id) => !known.has(id)),
    again: ids.filter((id, i) => ids.indexOf(id) !== i), displaced: ids.filter((id, i) => log[i] !== id),
  };
  const said = Object.entries(wrong).filter(([, w]) => w.length).map(([how, w]) => `${how} ${w.length} from ${w[0]} to ${w.at(-1)}`);
  assert.ok(said.length === 0 && ids.length === log.length, `${who}: ${said.join("; ")}`);
}

// recoveredEvents asserts that a client has heard what the log has, in order. Only
// where offsets are packets of their own may events come twice: those of the write in
// which the connection was cut, right after it is back. It returns how many did. of
// picks among the events.
export function recoveredEvents(client, log, trails, of = () => true) {
  const heard = [];
  let again = 0, back = false;
  for (const [event, argument] of client.heard) {
    if (event === "connect") back = true;
    if (event !== "job.event" || !of(argument)) continue;
    const at = log.indexOf(argument.id);
    if (back && !trails && at >= 0 && at < heard.length) again += heard.splice(at).length;
    back = false;
    heard.push(argument.id);
  }
  sameEvents(heard, log, client.mode);
  return again;
}

// modes are the ways in which applications configure the client.
export const modes = {
  "polling, then websocket": {},
  polling: { transports: ["polling"] },
  websocket: { transports: ["websocket"] },
};

const offset = /^[a-z0-9]{1,16}-\d+(\.\d+\.\d+)?$/;

// Client is one socket of the namespace /jobs and all it heard, in order, as
// [event, ...arguments]; `connect` comes with socket.recovered. Offsets that are
// packets of their own stand elsewhere.
export class Client {
  heard = [];
  offsets = [];
  attempts = 0; // to reconnect
  #taken = {};

  constructor(socket) {
    this.socket = socket;
    socket.onAny((...event) => (event.length === 1 && offset.test(event[0]) ? this.offsets.push(event[0]) : this.heard.push(event)));
    socket.on("connect", () => this.heard.push(["connect", socket.recovered]));
    for (const name of ["connect_error", "disconnect"]) socket.on(name, (...args) => this.heard.push([name, ...args]));
    socket.io.on("reconnect_attempt", () => { this.attempts++; });
  }

  // all returns the first arguments of an event, oldest first.
  all(name) {
    return this.heard.filter((h) => h[0] === name).map((h) => h[1]);
  }

  // next waits for one more of an event than was taken before, and returns its
  // first argument.
  async next(name, ms) {
    const n = this.#taken[name] ??= 0;
    this.#taken[name]++;
    await until(`${name}, number ${n + 1}; heard ${this.heard.length}, last ${JSON.stringify(this.heard.slice(-5))}`,
      () => this.all(name).length > n, ms);
    return this.all(name)[n];
  }

  get ids() {
    return this.all("job.event").map((e) => e.id);
  }

  async hears(id, ms) {
    await until(`the event ${id}`, () => this.ids.at(-1) === id || this.ids.includes(id), ms);
  }

  // subscribe asks for rooms and waits until their history is over.
  async subscribe(argument) {
    this.socket.emit("subscribe", argument);
    const subscribed = await this.next("subscribed");
    await this.next("live");
    return subscribed;
  }

  get transport() {
    return this.socket.io.engine?.transport?.name;
  }

  // state is for messages about what went wrong.
  get state() {
    const engine = this.socket.io.engine;
    return `${this.mode}: ${this.transport}, ${engine?.readyState}, upgrading ${engine?.upgrading}, to send ${engine?.writeBuffer.length}, ` +
      `last heard ${JSON.stringify(this.heard.slice(-2))}`;
  }

  // settled tells whether no upgrade is still to come.
  get settled() {
    return this.transport === "websocket" || this.socket.io.opts.transports?.join() === "polling";
  }
}

// connect opens the namespace as an application does, with the function `open` of
// another version of the client if there is one. It tries again sooner than the
// client's defaults.
export function connect(t, address, key, { open = io, ...options } = {}) {
  const socket = open(`${address}/jobs`, {
    forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 200, ...key && { auth: { token: key } }, ...options,
  });
  const client = new Client(socket);
  t.after(() => socket.disconnect());
  return client;
}

// connected is connect for what must succeed.
export async function connected(...args) {
  const client = connect(...args);
  await client.next("connected");
  return client;
}

// wire is a cable between clients and a server: it can be cut, pulled out for a
// while, and be thin.
export async function wire(t, server) {
  const pairs = new Set();
  const it = { plugged: true, rate: Infinity, url: undefined, cut: () => pairs.forEach((p) => p.forEach((s) => s.destroy())) };
  const listener = net.createServer((near) => {
    const far = net.connect(server.port, "127.0.0.1");
    const pair = [near, far];
    const cut = () => pair.forEach((s) => s.destroy());
    near.on("error", cut).on("close", () => { cut(); pairs.delete(pair); });
    far.on("error", cut); // its end is passed on by trickle
    if (!it.plugged) return cut();
    pairs.add(pair);
    near.pipe(far);
    trickle(far, near, it);
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  t.after(() => { it.cut(); listener.close(); });
  it.url = `http://127.0.0.1:${listener.address().port}`;
  return it;
}

// trickle copies at most it.rate bytes in 10 ms; at 0 it holds everything back.
async function trickle(from, to, it) {
  try {
    for await (const chunk of from) {
      for (let at = 0; at < chunk.length;) {
        while (it.rate === 0 && !to.destroyed) await pause(10);
        const n = Math.min(it.rate, chunk.length - at);
        if (!to.write(chunk.subarray(at, at + n))) await Promise.race([once(to, "drain"), once(to, "close")]);
        at += n;
        if (it.rate < Infinity) await pause(10);
      }
    }
    to.end();
  } catch { // the cable was cut
    to.destroy();
  }
}

// application serves an empty page, and returns its address on another site than
// the server's.
export async function application(t) {
  const app = http.createServer((_, response) => {
    response.writeHead(200, { "Content-Type": "text/html" });
    response.end("<!doctype html><title>app</title>");
  }).listen(0, "127.0.0.1");
  await once(app, "listening");
  t.after(() => { app.closeAllConnections(); app.close(); });
  return `http://localhost:${app.address().port}`;
}

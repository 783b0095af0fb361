// One connection for all tabs of a browser that have the same server and credential.
//
// Who holds a Web Lock leads: it alone has a connection, and serves the others over a
// BroadcastChannel as the server serves a WebSocket, each room of theirs by a watch of its own. The others
// follow. When the leader goes, the browser gives the lock to another tab; from one that is silent,
// because it is frozen, it is taken. Then all go on where they are, by their cursors.
//
// What goes over the channel:
//   {leader: id}                          from now on I lead
//   {over: id}                            I no longer do
//   {session, leader, event, n, data}     a follower's order; n is the number of its subscription
//   {by: id, to: [[session, n]], event, data}  the leader's frame for some of them

import { changed, silent, unique } from "./common.js";
import { all, Watch } from "./watch.js";

const lease = 150_000; // ms; a follower that is silent for so long is gone. Hidden tabs have a timer a minute.
const sign = 10_000; // ms; how often a follower that only listens says that it is there

// digest is what stands for the credential in names that all scripts of an origin may read.
async function digest(text) {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return `jobcast ${Array.from(new Uint8Array(hash), (b) => b.toString(16).padStart(2, "0")).join("")}`;
}

const hidden = () => !!globalThis.document?.hidden;

/** Where this client stands among the tabs. */
export class Tabs {
  /** Nothing where tabs cannot share, or shall not. */
  static of(link) {
    const there = globalThis.isSecureContext && globalThis.BroadcastChannel && navigator.locks && crypto.subtle;
    return there && link.api.share ? new Tabs(link) : null;
  }

  constructor(link) {
    this.link = link;
    this.followers = new Map(); // by session: {heard, watches by number}
    // With a credential of its own a tab is no longer one of them.
    link.api.renewed = (token) => { if (token !== this.token) this.leave(); };
  }

  get follows() { return !!this.channel && !this.term; }

  /** Joins those with the same credential, and resolves when it is known who leads. */
  async enter() {
    const { api } = this.link;
    const token = await api.credential().catch(() => null); // the connection will say why there is none
    if (token === this.token) return;
    this.leave();
    if (token === null) return;
    this.token = token;
    const names = await Promise.all(["channel", "lock"].map((use) => digest(`${use} ${api.base} ${token}`)));
    if (this.token !== token) return;
    this.lock = names[1];
    const channel = this.channel = new BroadcastChannel(names[0]);
    channel.onmessage = ({ data }) => this.hear(data);
    await this.claim({ ifAvailable: true });
    if (this.channel === channel && this.follows) this.queue();
  }

  leave() {
    this.drop();
    this.token = this.term = undefined;
    this.channel?.close();
    this.channel = null;
    this.waiting?.abort();
    this.release?.();
    if (this.link.conn?.told) this.link.conn.end(changed);
  }

  /** Ends what followers have of this tab. */
  drop() {
    this.flush();
    if (this.term) this.post({ over: this.term });
    for (const session of this.followers.keys()) this.forget(session);
  }

  forget(session) {
    const { watches } = this.followers.get(session);
    this.followers.delete(session);
    for (const w of watches.values()) w.close();
  }

  /** Decides what follows on a connection to a leader that has ended. */
  async lost(error) {
    if (error === silent && this.follows) {
      this.waiting.abort();
      return this.claim({ steal: true });
    }
    if (error !== changed && error !== silent) this.none();
  }

  /** Gives up sharing. */
  none() {
    this.leave();
    this.link.tabs = null;
  }

  queue() {
    this.waiting = new AbortController();
    this.claim({ signal: this.waiting.signal }).then((led) => led && this.link.conn?.end(changed));
  }

  // claim asks for the lock, and resolves to whether it is had.
  claim(options) {
    const { channel } = this;
    return new Promise((resolve) => {
      let mine;
      navigator.locks.request(this.lock, options, (lock) => {
        if (!lock || this.channel !== channel) return resolve();
        mine = this.term = unique();
        this.post({ leader: mine });
        resolve(true);
        return new Promise((release) => { this.release = release; });
      }).catch((error) => {
        if (this.channel === channel && mine) this.demote(mine);
        else if (this.channel === channel && error.name !== "AbortError") this.none();
        resolve();
      });
    });
  }

  // demote follows on the theft of the lock.
  demote(term) {
    if (this.term !== term) return;
    this.drop();
    this.term = undefined;
    this.queue();
    this.link.conn?.end(changed);
    this.link.skip?.();
  }

  post(message) { this.channel?.postMessage(message); }

  hear(message) {
    if (!message.session) this.link.conn?.told?.(message);
    else if (this.term && (message.event === "open" || message.leader === this.term)) this.serve(message);
  }

  // serve does what a follower wants.
  serve({ session, event, n, data }) {
    if (event === "open") this.followers.set(session, { watches: new Map() });
    const follower = this.followers.get(session);
    if (!follower) return event === "bye" || this.say([session], "gone");
    follower.heard = this.link.api.clock.now();
    const { watches } = follower;
    if (event === "open") this.say([session], "connected");
    if (event === "ask") this.say([session], "pong");
    if (event === "bye") this.forget(session);
    if (event === "unsubscribe") watches.get(n)?.close();
    if (event === "subscribe") this.watch(watches, [session, n], data);
  }

  watch(watches, to, { jobId, lastEventId, from, conflate }) {
    let w = { cursor: lastEventId };
    w = new Watch(this.link, jobId ?? all, {
      after: lastEventId, from, conflate,
      onEvent: (event) => (event.type === "reset" ? this.say(to, "reset", event.data) : this.say(to, "job.event", event)),
      onState: ({ state, transport, error, wait }) => {
        if (["ended", "closed", "failed"].includes(state)) watches.delete(to[1]);
        if (state === "ended") this.say(to, "end", { jobId });
        else if (state === "failed") this.say(to, "error", { ...error, ref: { event: "subscribe", jobId } });
        else if (state !== "closed") this.say(to, state === "connected" ? "subscribed" : state, { cursor: w.cursor, transport, wait, message: error?.message, hidden: hidden() });
      },
    });
    if (!w.over) watches.set(to[1], w);
  }

  // say sends a frame; one that several followers get is sent once.
  say(to, event, data) {
    if (this.out?.event === event && this.out.data === data) return this.out.to.push(to);
    this.flush();
    this.out = { by: this.term, to: [to], event, data };
    queueMicrotask(() => this.flush());
  }

  flush() {
    if (!this.out) return;
    this.post(this.out);
    this.out = null;
    const since = this.link.api.clock.now() - lease;
    for (const [session, { heard }] of this.followers) if (heard < since) this.forget(session);
  }
}

/** The transport of a follower. */
export async function tab(conn) {
  const { api, link } = conn;
  const { tabs } = link;
  const session = unique();
  const numbers = new Map(), rooms = new Map(); // of a job, its subscription; of a subscription, its room
  let leader, count = 0, sent;
  const post = (event, more) => {
    sent = api.clock.now();
    tabs.post({ session, leader, event, ...more });
  };
  const send = (event, data) => {
    const job = data.jobId ?? "";
    if (event === "subscribe") rooms.set(++count, conn.rooms.get(job)), numbers.set(job, count);
    else rooms.delete(numbers.get(job));
    post(event, { n: numbers.get(job), data });
  };
  conn.greeted = () => {
    conn.send = send;
    conn.ask = () => { post("ask"); conn.watchdog(api.times.answer, silent); };
    conn.heard();
    conn.changed();
  };
  const take = (event, data = {}, n) => {
    const room = rooms.get(n);
    if (event === "gone") throw changed;
    if (n && !room) return;
    conn.via = data.transport ?? conn.via;
    if (event !== "lost") return conn.frame(event, data, room);
    conn.heard();
    if (data.hidden && !hidden() && data.wait <= api.times.retryMax) throw silent; // a hidden tab's timers are slow
    link.tell(conn.of(room).filter((w) => !w.buffer), conn.via, new Error(data.message), data.wait);
  };
  try {
    await new Promise((_, reject) => {
      conn.signal.addEventListener("abort", () => reject(conn.signal.reason));
      conn.told = (message) => {
        const { by, to, event, data } = message;
        try {
          if (message.leader || (leader && message.over === leader)) throw changed;
          for (const [whose, n] of to ?? []) {
            if (whose !== session || (leader ??= by) !== by || conn.signal.aborted) continue;
            take(event, data, n);
            if (api.clock.now() - sent > sign) post("ask");
          }
        } catch (error) {
          reject(error);
        }
      };
      if (conn.signal.aborted) reject(conn.signal.reason);
      post("open");
    });
  } finally {
    conn.told = null;
    post("bye");
  }
}

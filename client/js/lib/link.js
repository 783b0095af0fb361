import { Patience } from "./api.js";
import { Connection } from "./connection.js";
import { Tabs } from "./tabs.js";
import { changed, follow, heardOf, jobPath, LostError, obstructed, passing, Reconnect, silent } from "./common.js";

// Link keeps one connection for all watches: as good a transport as gets through.
export class Link {
  constructor(api) {
    this.api = api;
    this.watches = new Set();
    this.order = ["websocket", "sse", "poll"].filter((t) => t !== "websocket" || api.WebSocket);
    this.at = 0; // of order: what is used, or tried next
    this.good = 0; // what last got through
    this.blocked = this.stalls = 0; // how many in a row brought nothing; fell silent
    this.patience = new Patience(api);
    this.tabs = Tabs.of(this);
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
    for (;;) {
      await this.tabs?.enter();
      if (!this.watches.size) break;
      const follows = this.tabs?.follows;
      const conn = this.conn = new Connection(this, follows ? "tab" : this.order[this.at]);
      const probing = !follows && this.at > 0 && this.probeLater();
      const error = await conn.run();
      this.conn = null;
      if (probing) probing.abort();
      if (follows) await this.tabs?.lost(error);
      else if (error !== changed && this.watches.size) await this.settle(conn, error);
    }
    this.tabs?.leave();
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
    this.tell([...this.watches], conn.via, error, wait);
    if (this.watches.size) await this.api.pause(wait, null, (skip) => { this.skip = skip; });
    this.skip = null;
  }

  // tell tells watches that the next try follows after wait ms, or ends them.
  tell(watches, transport, error, wait) {
    const now = this.api.clock.now();
    for (const w of watches) {
      const gone = now - Math.max(w.since, this.patience.since);
      if (w.giveUp >= 0 && gone + wait > w.giveUp) w.fail(new LostError(gone, error));
      else w.say({ state: "lost", transport, error, wait });
    }
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

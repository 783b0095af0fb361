import { changed, cut, heardOf, passing, Problem, Reconnect, silent } from "./common.js";
import { Patience } from "./api.js";
import { tab } from "./tabs.js";
import { poll, sse, websocket } from "./transports.js";

const transports = { websocket, sse, poll, tab };

const maxRooms = 100; // of one WebSocket
const maxFetches = 3; // of what is missing, at the same time

// Connection is one connection over one transport. It carries rooms: on WebSocket up to a
// hundred, else one. More jobs than that share the client's whole log, and pick theirs (shared).
//
// A room begins where the first of its watches wants to. A watch that wants to begin elsewhere
// fetches what it lacks with ordinary requests, while what the room brings is kept for it;
// what came on both ways is known by its id.
export class Connection {
  constructor(link, transport, trial = false) {
    Object.assign(this, { link, api: link.api, transport, via: transport, trial });
    this.controller = new AbortController();
    this.signal = this.controller.signal;
    this.rooms = new Map(); // by job id, "" is everything; {job, asked, live, members, start}
    this.through = false; // it has brought a frame
    this.catching = [];
    this.turn = 0;
    this.shared = this.jobs().size > this.max();
  }

  jobs() { return new Set([...this.link.watches].filter((w) => !w.buffer).map((w) => w.job)); }

  max() { return { websocket: maxRooms, tab: Infinity }[this.transport] ?? 1; }

  end(error) { this.controller.abort(error); }

  // run resolves to why the connection has ended.
  async run() {
    const { api, signal } = this;
    this.watchdog(api.times.firstFrame, silent);
    try {
      await transports[this.transport](this);
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
    const { tab, silence, answer } = this.api.times;
    if (!this.through) {
      this.through = true;
      if (this.trial) throw (this.end(heardOf), heardOf);
      this.link.good = this.link.at;
    }
    this.last = this.api.clock.now();
    if (this.transport !== "poll") this.watchdog(this.transport === "tab" ? tab : this.ask ? silence : silence + answer, this.ask ? null : silent);
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
        this.left?.set(room.job, (this.left.get(room.job) ?? 0) + room.asked);
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
    if (room.begun) return room.members.forEach((w) => {
      if (w.buffer) return;
      if (cursor) w.cursor = cursor;
      w.say({ state: "connected", transport: this.via });
    });
    room.begun = true;
    const { start } = room;
    const resumed = this.shared && this.link.shared?.members;
    for (const w of this.of(room)) {
      if (w.buffer || (this.shared ? !resumed?.has(w) : w.cursor !== start.cursor || w.from !== start.from)) continue;
      room.members.add(w);
      if (cursor && !this.shared) w.cursor = cursor;
      w.say({ state: "connected", transport: this.via });
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
      if (!this.shared && cursor) w.cursor = cursor;
      w.say({ state: "live", transport: this.via });
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
    if (this.left?.get(job) > 0) return this.left.set(job, this.left.get(job) - 1);
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
    w.say({ state: "connected", transport: this.via });
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
        w.say({ state: "live", transport: this.via });
        return kept.forEach((event) => w.take(event));
      } catch (error) {
        if (this.signal.aborted) return;
        if (!passing(error)) return w.fail(error);
        await this.api.pause(patience.next(error), this.signal).catch(() => {});
      }
    }
  }

  join(job) {
    const { start, conflate } = this.room(job);
    this.send("subscribe", { jobId: job || undefined, lastEventId: start.cursor || undefined, from: (!start.cursor && start.from) || undefined, conflate });
  }

  only() { return this.room(this.shared ? "" : [...this.jobs()][0] ?? ""); }
}

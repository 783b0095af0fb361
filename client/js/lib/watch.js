import { follow, terminal } from "./common.js";

/** What stands for a job's id when everything of the client is watched. */
export const all = "all";

/** One reader of a job, or of everything. It begins at once. Its place is its cursor, which is
 * good on every transport. */
export class Watch {
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

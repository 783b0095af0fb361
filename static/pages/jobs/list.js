// The list of jobs as it is kept in memory: pages of the API, and what events make of them.
//
// Rows stand in the order of their ids, the newest first. What changes a row is drawn at the next frame.
// What would move rows waits while somebody reads or picks them (calm): new ones are counted
// and let in when asked for, those that left the filter stay, dimmed. An event does not tell a job's title and queue,
// so a new row is filled in from the API once it is seen.

import { call } from "../../api.js";
import { watch } from "../../live.js";
import { scrolled } from "../../router.js";
import { signal } from "../../ui/html.js";

const pageSize = 100;
const maxRows = 20_000; // of which older ones are read; a filter finds what is beyond
const liveRows = 5_000; // what stays when new ones come in at the top
const maxHeld = 1_000; // of new rows that wait; more are found by reading anew
const lingers = 1_500; // ms that a row stays after it left the filter
const breath = 250; // ms between two times that new rows come in: more often nobody could read them
const pace = 400; // ms between two readings that events ask for

const ends = { "job.completed": "completed", "job.failed": "failed", "job.cancelled": "cancelled" };
const moves = new Set(["job.created", "job.started", "job.retrying", ...Object.keys(ends)]);

// light is what a row shows of a job: payloads and results are not kept.
function light(job) {
  return {
    id: job.id, status: job.status, title: job.title, queue: job.queue, what: what(job), attempt: job.attempt, maxAttempts: job.maxAttempts,
    progress: job.progress, message: job.message, error: job.error, errorMessage: job.errorMessage?.slice(0, 300) ?? null,
    createdAt: job.createdAt, startedAt: job.startedAt, completedAt: job.completedAt, nextAttemptAt: job.nextAttemptAt, runAt: job.runAt,
  };
}

// what says of what a job consists, in a few words.
function what(job) {
  if (!job.actions) return null;
  const types = [...new Set(job.actions.map((a) => a.type))];
  return types.slice(0, 3).join(", ") + (types.length > 3 ? ", …" : "");
}

// number is the place of a cursor in its log, and which log that is.
const number = (cursor = "") => [cursor.slice(0, cursor.lastIndexOf("-")), Number(cursor.slice(cursor.lastIndexOf("-") + 1))];

// behind: the job already reflects what the cursor's event told.
function behind(cursor, row) {
  const [log, n] = number(cursor), [of, seen] = number(row.at);
  return log === of && n <= seen;
}

let left = null; // the list that was looked at last: {list, mark, y}

export class JobList {
  // resumed is the list as somebody left it who comes back to it: it catches up from there. y is how far it
  // was scrolled.
  static resumed(mark, options) {
    const kept = left?.mark === mark ? left : null;
    left = null;
    if (!kept) return null;
    const { filter, rows, next, cursor } = kept.list;
    const list = new JobList(filter, options);
    for (const row of rows) list.byId.set(row.id, row);
    Object.assign(list, { rows, next, cursor, y: kept.y, held: kept.list.held, leaving: kept.list.leaving, more: kept.list.more });
    list.loading.value = false;
    return list;
  }

  // filter: {state, queue, q, from, to}, times in RFC 3339. calm() says whether rows may not move.
  constructor(filter, { calm, onEvents = () => {} }) {
    Object.assign(this, { filter, calm, onEvents, cursor: "", y: 0 });
    this.plain = !filter.queue && !filter.q && !filter.from && !filter.to; // events alone tell which jobs belong here
    this.byId = new Map();
    this.rows = [];
    this.held = new Map(); // new rows that wait
    this.more = false; // further new ones, which are not among the held
    this.leaving = new Set();
    this.next = null; // where older rows begin; null: there are none
    this.events = [];
    this.version = signal(0); // what is drawn follows it
    this.loading = signal(true);
    this.error = signal(null);
    this.cut = signal(null); // why it is not watched any more
    this.controller = new AbortController();
    this.read = Promise.resolve();
    this.soonAt = this.filledAt = this.settledAt = 0;
    this.anew = false; // it is read anew
    this.missed = null; // events since the page that is being read was asked for
  }

  begin() {
    if (this.cursor) this.soon(0);
    else this.load();
    this.follow();
    this.timer = setInterval(() => this.sweep(), 500);
  }

  follow() {
    let live = !!this.cursor;
    const { signal } = this.controller;
    this.watching = watch("all", {
      signal, conflate: true, after: this.cursor,
      onEvent: (event) => this.take(event),
      onState: ({ state }) => {
        if (state === "live" && !live) this.soon(0); // what happened before it was live, and after the page was read
        live ||= state === "live";
      },
    });
    this.watching.done.catch((error) => { if (!signal.aborted) this.cut.value = error; });
  }

  // tryAgain reads and watches once more, after either has failed.
  tryAgain() {
    if (this.cut.value) {
      this.cursor = this.watching.cursor;
      this.cut.value = null;
      this.follow();
    }
    this.load();
  }

  // end stops; mark is by what it may be resumed.
  end(mark) {
    this.flush();
    this.cursor = this.watching.cursor;
    if (this.cursor && this.rows.length) left = { list: this, mark, y: scrolled };
    this.controller.abort();
    clearInterval(this.timer);
    clearTimeout(this.soonTimer);
    clearTimeout(this.settling);
    cancelAnimationFrame(this.frame);
  }

  // --- Reading ---

  path(after, limit = pageSize, state = this.filter.state) {
    const { queue, q, from, to } = this.filter;
    const query = new URLSearchParams({ limit: String(limit) });
    for (const [name, value] of Object.entries({ status: state, queue, q, from, to, after })) if (value) query.set(name, value);
    return `/v1/jobs?${query}`;
  }

  // page reads one page, one at a time; null: it failed, or the list is not wanted any more. What happened
  // meanwhile, its `missed`, may be newer than what it says.
  page(after, limit) {
    const one = this.read.then(async () => {
      if (this.controller.signal.aborted) return null;
      const missed = this.missed = [];
      try {
        const page = await call(this.path(after, limit), { signal: this.controller.signal });
        this.error.value = null;
        return { ...page, missed };
      } catch (error) {
        if (!this.controller.signal.aborted) this.error.value = error;
        return null;
      } finally {
        this.missed = null;
        if (!this.controller.signal.aborted) this.loading.value = false;
      }
    });
    this.read = one;
    return one;
  }

  // load reads the list anew.
  async load() {
    if (this.anew) return;
    this.loading.value = this.anew = true;
    const page = await this.page();
    this.anew = false;
    if (!page) return;
    this.byId.clear();
    this.held.clear();
    this.leaving.clear();
    this.more = false;
    this.rows = page.jobs.map((job) => this.row(job));
    this.next = page.next;
    for (const event of page.missed) this.apply(event);
    for (let n = 0; this.next && !this.rows.length && n < 20; n++) await this.older(); // a page may find nothing and lead on
    this.draw();
  }

  // older reads the page below what is there.
  async older() {
    if (!this.next || this.rows.length >= maxRows) return;
    const page = await this.page(this.next);
    if (!page) return;
    const fresh = page.jobs.filter((job) => !this.byId.has(job.id) && !this.held.has(job.id)).map((job) => this.row(job));
    this.rows = [...this.rows, ...fresh];
    this.next = page.next;
    this.catchUp(page.missed);
    this.draw();
  }

  // catchUp tells rows that were read what happened while they were.
  catchUp(missed) {
    for (const event of missed) if (this.byId.has(event.jobId) || this.held.has(event.jobId)) this.apply(event);
  }

  // soon reads the newest page again, for what events alone do not tell.
  soon(wait = Math.max(0, this.soonAt - Date.now())) {
    if (this.soonTimer) return;
    this.soonTimer = setTimeout(async () => {
      const began = Date.now();
      const page = await this.page();
      this.soonTimer = 0;
      this.soonAt = Date.now() + pace + 2 * (Date.now() - began); // a slow server is asked less often
      if (!page) return;
      this.merge(page);
      if (this.again) { this.again = false; this.soon(); }
    }, wait);
  }

  // fill reads what events did not tell of rows that are seen.
  async fill(first, last) {
    if (this.filling || this.filledAt + pace > Date.now()) return;
    const asked = this.rows.slice(first, last + 1).filter((row) => row.bare && row.tried < 3);
    if (!asked.length) return;
    this.filling = true;
    const from = this.rows.indexOf(asked[0]);
    const page = await this.page(from > 0 ? this.rows[from - 1].id : "");
    this.filledAt = Date.now();
    this.filling = false;
    if (!page) return;
    for (const row of asked) row.tried++; // one that the page does not have is gone, or has left the filter
    this.merge(page, false);
  }

  merge(page, admits = true) {
    for (const job of page.jobs) {
      const row = this.byId.get(job.id) ?? this.held.get(job.id);
      if (!row) {
        if (admits) this.admit(this.row(job, false));
      } else if (row.bare || !behind(job.cursor, row)) {
        Object.assign(row.job, light(job));
        Object.assign(row, { at: job.cursor, bare: false, v: row.v + 1 });
        this.stay(row);
      }
    }
    this.catchUp(page.missed);
    this.settle();
    this.draw();
  }

  row(job, shown = true) {
    const row = { id: job.id, job: light(job), at: job.cursor, bare: false, tried: 0, gone: 0, v: 0 };
    if (shown) this.byId.set(job.id, row);
    return row;
  }

  // --- Events ---

  take(event) {
    this.events.push(event);
    if (this.events.length > 5_000) this.flush(); // a page that is not shown has no frames
    else this.draw();
  }

  // draw applies and shows all that has come, at the next frame.
  draw() {
    this.frame ||= requestAnimationFrame(() => { this.flush(); this.version.value++; });
  }

  flush() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    const events = this.events;
    this.events = [];
    for (const event of events) this.apply(event);
    if (events.length) this.onEvents(events);
    this.settle();
  }

  apply(event) {
    this.missed?.push(event);
    if (event.type === "reset") return void this.load(); // of older rows no event tells what was missed
    const row = this.byId.get(event.jobId) ?? this.held.get(event.jobId);
    if (row) {
      if (behind(event.id, row)) return;
      change(row.job, event);
      row.at = event.id;
      row.v++;
      return this.stay(row);
    }
    if (!moves.has(event.type)) return;
    if (!this.plain) {
      if (this.soonTimer) this.again = true;
      return this.soon();
    }
    if (this.filter.state ? event.status !== this.filter.state : event.type !== "job.created") return;
    const job = { id: event.jobId, status: event.status, attempt: 0, createdAt: time(event.jobId) };
    change(job, event);
    this.admit({ id: event.jobId, job, at: event.id, bare: true, tried: 0, gone: 0, v: 0 });
  }

  // stay notes whether a row still belongs here.
  stay(row) {
    const out = this.filter.state && row.job.status !== this.filter.state;
    if (!out) { row.gone = 0; this.leaving.delete(row); }
    else if (this.held.delete(row.id)) return;
    else if (!row.gone) { row.gone = Date.now(); this.leaving.add(row); }
  }

  // admit takes in a row that was not there.
  admit(row) {
    const oldest = this.rows.at(-1);
    if (this.next && oldest && row.id < oldest.id) return; // it comes with the older ones
    if (this.held.size < maxHeld) this.held.set(row.id, row);
    else this.more = true;
  }

  // settle lets in those that wait, unless that would move what somebody reads.
  settle(asked = false) {
    if (!this.held.size || (this.calm() && this.rows.length && !asked)) return;
    if (!asked && Date.now() - this.settledAt < breath) return void (this.settling ||= setTimeout(() => { this.settling = 0; this.draw(); }, breath));
    this.settledAt = Date.now();
    const fresh = [...this.held.values()].sort((a, b) => (a.id < b.id ? 1 : -1));
    this.held.clear();
    for (const row of fresh) this.byId.set(row.id, row);
    const top = this.rows[0]?.id ?? "";
    this.rows = fresh.at(-1).id > top ? fresh.concat(this.rows) : fresh.concat(this.rows).sort((a, b) => (a.id < b.id ? 1 : -1));
    if (this.rows.length > liveRows) {
      for (const row of this.rows.slice(liveRows)) { this.byId.delete(row.id); this.leaving.delete(row); }
      this.rows = this.rows.slice(0, liveRows);
      this.next = this.rows.at(-1).id;
    }
  }

  // letIn shows the new ones, because somebody wants to see them.
  letIn() {
    if (this.more) return this.load();
    this.settle(true);
    this.draw();
  }

  // waiting is how many new ones somebody has to ask for, and whether there are more than that.
  get waiting() { return { n: this.calm() ? this.held.size : 0, more: this.more }; }

  // sweep takes out the rows that have left, a moment after they did.
  sweep() {
    if (this.calm()) return;
    if (this.more) return void this.load();
    const out = [...this.leaving].filter((row) => row.gone + lingers < Date.now());
    if (out.length) {
      for (const row of out) { this.leaving.delete(row); this.byId.delete(row.id); }
      this.rows = this.rows.filter((row) => this.byId.has(row.id));
      if (this.rows.length < pageSize / 2 && this.next) this.older();
    }
    if (out.length || this.held.size) this.draw();
  }
}

// time is when the job with this id was made: a UUIDv7 begins with it.
const time = (id) => new Date(parseInt(id.slice(0, 8) + id.slice(9, 13), 16)).toISOString();

// change makes of a job what an event tells.
function change(job, { type, status, timestamp, data = {} }) {
  job.status = status;
  switch (type) {
    case "job.created": return void (job.createdAt = data.createdAt ?? timestamp);
    case "job.started": return void Object.assign(job, { startedAt: data.startedAt ?? timestamp, attempt: data.attempt ?? job.attempt, nextAttemptAt: null, error: null, errorMessage: null });
    case "job.progress": return void Object.assign(job, { progress: data.progress, message: data.message ?? null });
    case "job.retrying": return void Object.assign(job, { progress: null, message: null, attempt: data.attempt, nextAttemptAt: data.nextAttemptAt, error: data.error, errorMessage: data.errorMessage });
    case "job.completed": return void Object.assign(job, { progress: 100, completedAt: data.completedAt ?? timestamp });
    case "job.failed": return void Object.assign(job, { completedAt: data.completedAt ?? timestamp, error: data.error, errorMessage: data.errorMessage });
    case "job.cancelled": return void (job.completedAt = timestamp);
  }
}

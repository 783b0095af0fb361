// What is known of one job: the Job, and what its events tell, in the order of the log.
//
// The newest thousand events are read first, then what comes is followed from there, so nothing lies
// between. Events are taken in one go for each picture of the screen, however many come.

import { call } from "../../api.js";
import { watch } from "../../live.js";
import { signal } from "../../ui/html.js";

const first = 1_000; // events that are read at once
const most = 20_000; // that are kept; beyond it the oldest go
const mostSteps = 200; // of an attempt, that are drawn

export const ended = (job) => ["completed", "failed", "cancelled"].includes(job?.status);

const blank = () => ({ events: [], logs: [], attempts: [], artifacts: new Map(), earlier: false });

export class Model {
  /** {job, error, events, logs, attempts, artifacts, earlier, version}. Lists are added to in place, so
   * whatever shows one takes the version too, which changes with them. */
  state = signal({ job: null, error: null, version: 0, ...blank() });
  #known = blank();
  #waiting = [];
  #over = false;

  constructor(id) {
    this.id = id;
    this.path = `/v1/jobs/${encodeURIComponent(id)}`; // the id is what somebody wrote into an address
  }

  async begin() {
    try {
      const job = await call(this.path);
      const page = await call(`${this.path}/events?tail=${first}`);
      if (this.#over) return;
      this.#known.earlier = page.events[0]?.type !== "job.created";
      this.#show({ job, error: null });
      this.#take(page.events);
      if (page.done) return;
      this.watching = watch(this.id, { after: page.lastEventId, onEvent: (event) => this.#wait(event) });
      this.watching.done.catch((error) => this.#over || this.#show({ error }));
    } catch (error) {
      if (!this.#over) this.#show({ error });
    }
  }

  end() {
    this.#over = true;
    this.watching?.close();
  }

  /** Does one call about the job that answers with it. */
  async act(verb) {
    const job = await call(`${this.path}/${verb}`, { method: "POST" });
    if (job.id === this.id) this.#show({ job });
    return job;
  }

  /** Reads what is in front of the first event that is here. */
  async readEarlier() {
    const until = this.#known.events[0]?.id;
    const events = [];
    for (let after = "0-0"; events.length < most;) {
      const page = await call(`${this.path}/events?lastEventId=${after}`);
      if (this.#over) return;
      const at = page.events.findIndex((e) => e.id === until);
      events.push(...page.events.slice(0, at < 0 ? undefined : at));
      if (at >= 0 || !page.events.length) break;
      after = page.lastEventId;
    }
    this.#again([...events, ...this.#known.events]);
  }

  #again(events) {
    this.#known = blank();
    this.#take(events);
  }

  // wait keeps an event until the screen is drawn next. A page that is not shown has no frames: it takes them by thousands.
  #wait(event) {
    const n = this.#waiting.push(event);
    if (n === 1) requestAnimationFrame(() => this.#flush());
    if (n === 1 && document.hidden) setTimeout(() => this.#flush(), 250);
    if (n >= 5_000) this.#flush();
  }

  #flush() {
    const events = this.#waiting;
    this.#waiting = [];
    if (events.length && !this.#over) this.#take(events);
  }

  #take(events) {
    let { job } = this.state.value;
    for (const event of events) {
      if (event.type === "reset") this.#known = { ...blank(), earlier: true };
      else job = this.#one(job, event);
    }
    const known = this.#known;
    for (const list of [known.events, known.logs]) {
      if (list.length > most) list.splice(0, list.length - most + 1_000);
    }
    if (known.events.length && known.events[0].type !== "job.created") known.earlier = true;
    this.#show({ job });
    if (ended(job) && !ended(this.full)) this.#readAgain();
  }

  // one takes an event and returns the job after it.
  #one(job, event) {
    const { type, data, timestamp, id } = event;
    const known = this.#known;
    known.events.push(event);
    switch (type) {
      case "job.started":
        known.attempts.push({ n: data.attempt, startedAt: data.startedAt, steps: [] });
        return { ...job, status: event.status, attempt: data.attempt, startedAt: data.startedAt, nextAttemptAt: null, progress: null, message: null };
      case "job.progress":
        this.#step(this.#attempt(job), data, timestamp);
        return { ...job, status: event.status, progress: data.progress, message: data.message ?? null, step: data.step ?? null };
      case "job.log":
        known.logs.push({ id, at: timestamp, level: data.level, line: data.line });
        return job;
      case "job.artifact":
        known.artifacts.set(data.name, { ...data, version: id });
        return job;
      case "job.retrying":
        Object.assign(this.#attempt(job), { endedAt: timestamp, error: data.error, errorMessage: data.errorMessage, nextAttemptAt: data.nextAttemptAt });
        return { ...job, status: event.status, nextAttemptAt: data.nextAttemptAt };
      case "job.completed": case "job.failed": case "job.cancelled":
        if (known.attempts.length || job.startedAt) {
          const attempt = this.#attempt(job);
          if (!attempt.endedAt) Object.assign(attempt, { endedAt: data.completedAt, status: event.status, error: data.error, errorMessage: data.errorMessage });
        }
        return { ...job, status: event.status, completedAt: data.completedAt, error: data.error ?? null, errorMessage: data.errorMessage ?? null, nextAttemptAt: null };
    }
    return job;
  }

  #attempt(job) {
    const { attempts } = this.#known;
    if (!attempts.length) attempts.push({ n: job.attempt || 1, startedAt: job.startedAt ?? job.createdAt, steps: [] });
    return attempts.at(-1);
  }

  #step(attempt, { progress, message = "", step = "" }, at) {
    const [, number] = message.match(/^Executing action (\d+) of \d+: /) ?? [];
    const last = attempt.steps.at(-1);
    if (!number && last && last.step === step) Object.assign(last, { progress, message });
    else if (attempt.steps.length < mostSteps) attempt.steps.push({ at, number: Number(number) || 0, step, message, progress });
  }

  // The Job of the end has what its last event leaves out.
  async #readAgain() {
    this.full = this.state.value.job;
    const job = await call(this.path).catch(() => null);
    if (job && !this.#over) this.#show({ job });
  }

  #show(more) {
    const known = this.#known;
    const { job, error, version } = this.state.value;
    this.state.value = { job, error, ...known, ...more, version: version + 1 };
  }
}

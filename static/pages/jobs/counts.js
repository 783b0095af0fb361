// How many jobs each tab has: by the server's figures, or, of a filter that they know nothing of, by lists,
// up to a hundred. States that events touch are counted again, a moment apart.

import { call } from "../../api.js";
import { states } from "../../ui/badge.js";
import { signal, useEffect, useMemo } from "../../ui/html.js";

const most = 100;
const pace = 1_000; // ms between two looks at the figures
const listPace = 3_000; // and at lists
const within = new Set(["job.progress", "job.log", "job.artifact"]); // events of jobs that stay in their state

// useCounts returns {state: text}, "" for all of them.
export function useCounts(list) {
  const counts = useMemo(() => new Counts(list), [list]);
  useEffect(() => {
    counts.begin();
    return () => counts.end();
  }, [counts]);
  return counts.texts.value;
}

class Counts {
  constructor(list) {
    this.list = list;
    this.texts = signal({});
    this.numbers = {};
    this.stale = new Set(states);
    this.controller = new AbortController();
  }

  begin() {
    this.list.onEvents = (events) => { for (const { type, status } of events) if (!within.has(type)) this.touched(status); };
    this.run();
    this.timer = setInterval(() => this.run(), this.list.plain ? pace : listPace);
  }

  end() {
    this.list.onEvents = () => {};
    clearInterval(this.timer);
    this.controller.abort();
  }

  touched(status) {
    for (const state of [status, "pending", "processing"]) this.stale.add(state); // where it was is not told
  }

  async run() {
    if (this.busy || document.hidden || !this.stale.size) return;
    this.busy = true;
    const { signal } = this.controller;
    try {
      if (this.list.plain) {
        this.stale.clear();
        const { jobs } = await call("/v1/stats", { signal });
        this.tell((state) => jobs[state].toLocaleString(), states.reduce((n, state) => n + jobs[state], 0).toLocaleString());
      } else {
        await this.count(signal);
      }
    } catch { // the list itself tells what is wrong
      this.touched("completed");
    }
    this.busy = false;
  }

  // count asks lists for the states that may have another number now.
  async count(signal) {
    for (const state of [...this.stale]) {
      this.stale.delete(state); // before it is asked for: an event meanwhile may not be in the answer
      const page = await call(this.list.path("", most, state), { signal }).catch((error) => { this.stale.add(state); throw error; });
      this.numbers[state] = page.next ? most : page.jobs.length;
    }
    const all = states.map((s) => this.numbers[s]);
    this.tell((state) => text(this.numbers[state]), text(all.reduce((a, b) => a + b, 0), all.some((n) => n >= most)));
  }

  tell(of, all) {
    const next = { ...Object.fromEntries(states.map((s) => [s, of(s)])), "": all };
    if (JSON.stringify(next) !== JSON.stringify(this.texts.value)) this.texts.value = next;
  }
}

const text = (n, more = n >= most) => (more ? `${most - 1}+` : String(n));

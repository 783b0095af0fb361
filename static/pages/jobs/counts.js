// How many jobs each tab has. Lists say so up to a hundred: beyond that the number would not be
// read anyway. States that events touch are counted again, some seconds apart.

import { call } from "../../api.js";
import { states } from "../../ui/badge.js";
import { signal, useEffect, useMemo } from "../../ui/html.js";

const most = 100;
const pace = 3_000; // ms between two counts of a state

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
    this.list.onEvents = (events) => { for (const { status } of events) this.touched(status); };
    this.run();
    this.timer = setInterval(() => this.run(), pace);
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
    if (this.busy || document.hidden) return;
    this.busy = true;
    for (const state of [...this.stale]) {
      this.stale.delete(state);
      try {
        const page = await call(this.list.path("", most, state), { signal: this.controller.signal });
        this.numbers[state] = page.next ? most : page.jobs.length;
      } catch { /* the list itself tells what is wrong */ }
      if (this.controller.signal.aborted) return;
    }
    this.busy = false;
    const all = states.map((s) => this.numbers[s]);
    const next = Object.fromEntries(states.map((s) => [s, text(this.numbers[s])]));
    if (all.every((n) => n !== undefined)) next[""] = text(all.reduce((a, b) => a + Math.min(b, most), 0), all.some((n) => n >= most));
    if (JSON.stringify(next) !== JSON.stringify(this.texts.value)) this.texts.value = next;
  }
}

const text = (n, more = n >= most) => (n === undefined ? undefined : more ? `${Math.min(n, most) - 1}+` : String(n));

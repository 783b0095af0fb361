// Cancel and retry of many: which rows are picked, and the bar that acts on them.

import { call } from "../../api.js";
import { confirm } from "../../ui/dialog.js";
import { html, signal, useState } from "../../ui/html.js";
import { Icon } from "../../ui/icon.js";
import { toast } from "../../ui/toast.js";

const most = 200; // ids in a call

// Picks are the picked rows, by id.
export class Picks {
  constructor() {
    this.rows = new Map();
    this.version = signal(0);
  }

  get size() { return this.rows.size; }

  has(id) { return this.rows.has(id); }

  toggle(row) {
    if (!this.rows.delete(row.id)) this.rows.set(row.id, row);
    this.version.value++;
  }

  // range picks all rows between two ids.
  range(rows, from, to) {
    const [a, b] = [rows.findIndex((r) => r.id === from), rows.findIndex((r) => r.id === to)];
    for (const row of rows.slice(Math.max(0, Math.min(a, b)), Math.max(a, b) + 1)) this.rows.set(row.id, row);
    this.version.value++;
  }

  all(rows) {
    for (const row of rows) this.rows.set(row.id, row);
    this.version.value++;
  }

  clear() {
    if (!this.rows.size) return;
    this.rows.clear();
    this.version.value++;
  }
}

const verbs = {
  cancel: { of: ["pending", "processing"], done: "cancelled", word: "Cancel", icon: "cancelled" },
  retry: { of: ["failed", "cancelled"], done: "submitted again", word: "Retry", icon: "retry" },
};

const jobs = (n) => `${n.toLocaleString()} ${n === 1 ? "job" : "jobs"}`;

export function Bulk({ list, picks }) {
  list.version.value; // states change while rows are picked
  picks.version.value;
  const [busy, setBusy] = useState("");
  if (!picks.size) return null;
  const fit = (verb) => [...picks.rows.values()].filter((row) => verbs[verb].of.includes(row.job.status));
  const act = async (verb) => {
    const ids = fit(verb).map((row) => row.id);
    const sure = await confirm({
      title: `${verbs[verb].word} ${jobs(ids.length)}?`, danger: verb === "cancel", action: `${verbs[verb].word} ${jobs(ids.length)}`,
      text: verb === "cancel" ? "What runs is interrupted. This cannot be undone, but cancelled jobs can be retried." : "Each becomes a new job that does the same.",
    });
    if (!sure) return;
    setBusy(verb);
    await run(verb, ids);
    setBusy("");
    picks.clear();
  };
  const button = (verb) => {
    const n = fit(verb).length;
    return html`<button type="button" class=${`button ${verb === "cancel" ? "danger" : ""}`} disabled=${!n || busy} onClick=${() => act(verb)}>
      <${Icon} name=${verbs[verb].icon} />${busy === verb ? "Working…" : `${verbs[verb].word} ${n || ""}`}</button>`;
  };
  return html`<div class="bulk" role="region" aria-label="Picked jobs">
    <p role="status">${jobs(picks.size)} picked</p>
    <div class="row">${button("cancel")}${button("retry")}
      <button type="button" class="icon-button" aria-label="Pick none" title="Pick none (Escape)" onClick=${() => picks.clear()}><${Icon} name="close" /></button></div>
  </div>`;
}

// run does it, some hundred at a time, and tells what came of it. An idempotency key makes a
// repeated call retry no job twice.
async function run(verb, ids) {
  let done = 0;
  const refused = new Map();
  try {
    for (let i = 0; i < ids.length; i += most) {
      const { jobs: answers } = await call(`/v1/jobs/${verb}`, { json: { ids: ids.slice(i, i + most) }, headers: { "Idempotency-Key": crypto.getRandomValues(new Uint32Array(4)).join("-") } });
      for (const answer of answers) {
        if (answer.status < 300) done++;
        else refused.set(why(answer), (refused.get(why(answer)) ?? 0) + 1);
      }
    }
  } catch (error) {
    return toast(`${done ? `${jobs(done)} ${verbs[verb].done}, then: ` : ""}${error.message}`, "bad");
  }
  const rest = [...refused].map(([text, n]) => `${n.toLocaleString()} not: ${text}`);
  toast([`${jobs(done)} ${verbs[verb].done}`, ...rest].join("; "), rest.length ? "bad" : "good");
}

const why = (answer) => (answer.jobStatus ? `${answer.jobStatus} meanwhile` : answer.detail || answer.title);

// One job of the list: as a row of a table, or on a phone as two lines.

import { at } from "../../api.js";
import { Badge } from "../../ui/badge.js";
import { html } from "../../ui/html.js";
import { ago, full, now, span, Time } from "../../ui/time.js";

// name is what a job is called: by its title, else by what it does, else by its id alone.
export const name = (job) => job.title || job.what || (job.queue ? `Job of ${job.queue}` : job.what === undefined ? "…" : "Job");

export const short = (id) => id.slice(-12);

export function Row({ row, index, top, height, active, selected, onSelect, selectable }) {
  const { job } = row;
  const pick = (event) => {
    event.stopPropagation();
    const box = event.currentTarget.querySelector("input");
    const now = onSelect(row, event);
    queueMicrotask(() => { box.checked = now; }); // the browser has turned it over by itself
  };
  return html`<div id=${`job-${job.id}`} role="row" aria-rowindex=${index + 2} aria-selected=${selectable ? selected : undefined} data-id=${job.id}
    class=${`job-row ${active ? "active" : ""} ${selected ? "selected" : ""} ${row.gone ? "gone" : ""}`} style=${{ top: `${top}px`, height: `${height}px` }}>
    ${selectable && html`<div role="gridcell" class="c-pick" onClick=${pick}>
      <input type="checkbox" tabindex="-1" checked=${selected} aria-label=${`Select ${name(job)} ${short(job.id)}`} />
    </div>`}
    <div role="gridcell" class="c-state"><${Badge} status=${job.status} /></div>
    <div role="gridcell" class="c-name">
      <a href=${at(`/jobs/${job.id}`)} tabindex="-1" class="cut" title=${job.title ? `${job.title}\n${job.id}` : job.id}>${name(job)}</a>
      ${!job.title && html`<span class="mono faint">${short(job.id)}</span>`}
    </div>
    <div role="gridcell" class="c-news"><${News} job=${job} /></div>
    <div role="gridcell" class="c-queue cut">${job.queue ?? ""}</div>
    <div role="gridcell" class="c-took"><${Took} job=${job} /></div>
    <div role="gridcell" class="c-when"><${Time} at=${job.createdAt} /></div>
  </div>`;
}

// News is what a job is about at the moment, or what became of it.
function News({ job }) {
  const tries = job.maxAttempts > 1 && job.attempt > 1 ? `attempt ${job.attempt} of ${job.maxAttempts}` : "";
  switch (job.status) {
    case "processing":
      return html`<span class="bar" aria-hidden="true"><i style=${{ width: `${job.progress ?? 0}%` }}></i></span>
        <span class="percent">${Math.round(job.progress ?? 0)} %</span>
        <span class="cut faint">${job.message || tries}</span>`;
    case "failed":
      return html`<span class="cut bad-text" title=${job.errorMessage}><b>${job.error}</b> ${job.errorMessage}</span>`;
    case "pending":
      if (job.nextAttemptAt && job.error) return html`<span class="cut faint" title=${job.errorMessage}>tried again ${until(job.nextAttemptAt)}: ${job.error}</span>`;
      if (job.runAt && Date.parse(job.runAt) > now.value) return html`<span class="faint"><time datetime=${job.runAt} title=${full(job.runAt)}>begins ${until(job.runAt)}</time></span>`;
      return null;
  }
  return tries && html`<span class="faint">${tries}</span>`;
}

const until = (time) => ago(Date.parse(time), now.value);

// Took is how long a job ran, or has been running.
function Took({ job }) {
  if (!job.startedAt) return null;
  const from = Date.parse(job.startedAt);
  if (job.completedAt) return span(Date.parse(job.completedAt) - from);
  const ms = now.value - from;
  return job.status === "processing" ? (ms < 10_000 ? `${Math.max(0, Math.floor(ms / 1_000))} s` : span(ms)) : null;
}

// A job at a glance: its states in the order of time, how far it is, and why it failed.

import { at } from "../../api.js";
import { Copy } from "../../ui/copy.js";
import { html } from "../../ui/html.js";
import { Icon } from "../../ui/icon.js";
import { full, now, span, Time } from "../../ui/time.js";
import { about, clock } from "./format.js";
import { ended } from "./model.js";

const shown = 6; // points of the time line; those between the first and the last ones are counted

// points are {state, title, at, note} of what has happened; the last one may still last.
function points(job, attempts) {
  const all = [{ state: "pending", title: "Submitted", at: job.createdAt }];
  for (const a of attempts) {
    all.push({ state: "processing", title: attempts.length > 1 || a.n > 1 ? `Attempt ${a.n}` : "Started", at: a.startedAt });
    if (a.endedAt && !a.status) all.push({ state: "failed", title: a.error, at: a.endedAt, retry: true });
  }
  if (ended(job)) all.push({ state: job.status, title: { completed: "Completed", failed: job.error ?? "Failed", cancelled: "Cancelled" }[job.status], at: job.completedAt });
  return all;
}

export function Timeline({ job, attempts }) {
  const all = points(job, attempts);
  const hidden = all.length - shown;
  const list = hidden > 0 ? [all[0], { more: hidden }, ...all.slice(1 - shown)] : all;
  return html`<ol class="timeline" aria-label="States">
    ${list.map((point, i) => (point.more
      ? html`<li key="more" class="more"><span class="hint">${point.more} more</span></li>`
      : html`<li key=${point.at + point.title} class=${point.state}>
        <${Icon} name=${point.state === "processing" ? "play" : point.state} />
        <p><b>${point.title}</b><time datetime=${point.at} title=${full(point.at)}>${clock(point.at).slice(0, 8)}</time></p>
        <${Between} job=${job} point=${point} next=${list[i + 1]} latest=${attempts.at(-1)?.steps.at(-1)?.at} />
      </li>`))}
  </ol>`;
}

// Between is how long a point lasted, or lasts.
function Between({ job, point, next, latest }) {
  const verb = point.state === "processing" ? "ran" : "waited";
  if (next?.at) return html`<p class="hint between">${verb} ${span(Date.parse(next.at) - Date.parse(point.at))}</p>`;
  if (next || ended(job)) return null;
  if (job.nextAttemptAt && point.retry) return html`<p class="hint between">next attempt <${Time} at=${job.nextAttemptAt} /></p>`;
  if (point.state === "pending" && job.runAt && Date.parse(job.runAt) > now.value) return html`<p class="hint between">begins <${Time} at=${job.runAt} /></p>`;
  return html`<p class="hint between live" role="timer">${point.state === "processing" ? "running" : "waiting"} for ${span(Math.max(now.value, Date.parse(latest ?? point.at)) - Date.parse(point.at))}</p>`;
}

export function Progress({ job }) {
  if (ended(job) || job.status !== "processing") return null;
  const percent = Math.round(job.progress ?? 0);
  return html`<div class="progress">
    <progress max="100" value=${percent} aria-label="Progress"></progress>
    <p class="row"><b>${percent} %</b><span class="grow cut">${job.message ?? ""}</span></p>
  </div>`;
}

// Why says what went wrong, where, and what the job has left behind about it.
export function Why({ job, attempts }) {
  if (job.status !== "failed") return null;
  const last = attempts.at(-1);
  const number = last?.steps.at(-1)?.number;
  const action = number && job.actions?.[number - 1];
  const evidence = (job.artifacts ?? []).some((a) => a.name === "failure.png");
  return html`<div class="notice bad why" role="status"><${Icon} name="failed" /><div>
    <p><b>${job.error}</b>${"\n"}${job.errorMessage}</p>
    ${action && html`<p class="hint">Step ${number} of ${job.actions.length}, ${action.type} ${about(action)}, of attempt ${last.n}.</p>`}
    ${evidence && html`<p class="hint"><a href="?tab=artifacts">What the page looked like, and what had happened</a></p>`}
  </div></div>`;
}

export function Facts({ job }) {
  const facts = [
    ["Job", html`<code>${job.id}</code><${Copy} text=${job.id} label="Copy the id" />`],
    job.queue && ["Queue", html`<code>${job.queue}</code>`],
    job.retryOf && ["Retry of", html`<a href=${at(`/jobs/${job.retryOf}`)}><code>${job.retryOf.slice(0, 8)}…</code></a>`],
    ["Attempts", `${job.attempt} of at most ${job.maxAttempts}`],
    ["Time limit", span(job.timeoutMs)],
    job.priority && ["Priority", String(job.priority)],
    ["Submitted", html`<${Time} at=${job.createdAt} />`],
    job.expiresAt && !ended(job) && ["Expires", html`<${Time} at=${job.expiresAt} />`],
    job.state && ["Browser state", html`<code>${[job.state.use && `use ${job.state.use}`, job.state.save && `save ${job.state.save}`].filter(Boolean).join(", ")}</code>`],
    job.metadata && ["Metadata", html`<code>${JSON.stringify(job.metadata)}</code>`],
  ];
  return html`<dl class="facts">${facts.filter(Boolean).map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

// What each attempt has done, and how long each of its steps took.

import { Badge } from "../../ui/badge.js";
import { html, useState } from "../../ui/html.js";
import { Icon } from "../../ui/icon.js";
import { Empty } from "../../ui/notice.js";
import { now, span, Time } from "../../ui/time.js";
import { about } from "./format.js";

export function Steps({ job, attempts, version }) {
  const [chosen, choose] = useState(0); // an attempt; 0: the newest
  const attempt = attempts.find((a) => a.n === chosen) ?? attempts.at(-1);
  if (!attempt) {
    return html`${job.actions ? html`<${Plan} actions=${job.actions} />` : null}
      <${Empty} icon="pending" title="Not started yet"><p>${job.queue ? html`It waits for a worker of the queue <code>${job.queue}</code>.` : "Its steps appear here once it runs."}</p><//>`;
  }
  return html`
    ${attempts.length > 1 && html`<fieldset class="segments attempts">
      <legend class="hidden">Attempt</legend>
      ${attempts.map((a) => html`<label key=${a.n}><input type="radio" name="attempt" checked=${a === attempt} onChange=${() => choose(a.n)} />
        <span><${Icon} name=${standing(a)} />Attempt ${a.n}<span class="hidden">, ${standing(a)}</span></span></label>`)}
    </fieldset>`}
    <${Attempt} job=${job} attempt=${attempt} version=${version} />`;
}

const standing = (a) => (!a.endedAt ? "processing" : a.status ?? "failed");

function Attempt({ job, attempt }) {
  const start = Date.parse(attempt.startedAt);
  const end = attempt.endedAt ? Date.parse(attempt.endedAt) : Math.max(now.value, Date.parse(attempt.steps.at(-1)?.at ?? attempt.startedAt));
  const rows = rowsOf(job, attempt, end);
  const whole = Math.max(1, end - start);
  return html`
    <div class="row attempt-head">
      <${Badge} status=${standing(attempt)} /><span class="hint">began <${Time} at=${attempt.startedAt} />, ${attempt.endedAt ? "took" : "runs for"} ${span(end - start)}</span>
    </div>
    ${attempt.error && !(job.status === "failed" && attempt.status) && html`<div class="notice bad"><${Icon} name="warn" /><p><b>${attempt.error}</b> ${attempt.errorMessage}</p></div>`}
    ${rows.length > 0 && html`<ol class="waterfall" aria-label=${`Steps of attempt ${attempt.n}`}>
      ${rows.map((row) => html`<${Step} key=${row.key} row=${row} start=${start} whole=${whole} />`)}
    </ol>`}
    ${!rows.length && html`<p class="hint">This attempt has told of no steps.</p>`}`;
}

// rowsOf are the actions of a list, begun or not, or else the steps that a worker told of.
function rowsOf(job, attempt, end) {
  const { steps } = attempt;
  const until = (i) => (steps[i + 1] ? Date.parse(steps[i + 1].at) : end);
  const state = (i) => (steps[i + 1] ? "completed" : !attempt.endedAt ? "processing" : attempt.status ?? "failed");
  if (!job.actions) {
    return steps.map((s, i) => ({ key: i, name: s.step || "progress", text: s.message, from: Date.parse(s.at), to: until(i), state: state(i) }));
  }
  return job.actions.map((action, i) => {
    const at = steps.findIndex((s) => s.number === i + 1);
    const result = attempt.status === "completed" ? job.result?.actions?.[i] : null;
    const row = { key: i, number: i + 1, name: action.type, text: about(action), note: result?.status ? String(result.status) : "" };
    return at < 0 ? { ...row, state: "" } : { ...row, from: Date.parse(steps[at].at), to: until(at), state: state(at) };
  });
}

const words = { "": "not begun", processing: "running", completed: "done", failed: "failed", cancelled: "cancelled" };

function Step({ row, start, whole }) {
  const { number, name, text, note, state, from, to } = row;
  const bar = state && { left: `${Math.min(99, Math.max(0, ((from - start) / whole) * 100))}%`, width: `${Math.max(0.4, Math.min(100, ((to - from) / whole) * 100))}%` };
  return html`<li class=${`step ${state}`}>
    <span class="mark">${state ? html`<${Icon} name=${state} />` : html`<span class="none"></span>`}<span class="hidden">${words[state]}: </span></span>
    <span class="what">${number ? html`<span class="faint">${number}</span> ` : null}<b>${name}</b> <span class="cut">${text}</span>${note && html` <code>${note}</code>`}</span>
    <span class="lane" aria-hidden="true">${bar && html`<span class="bar" style=${bar}></span>`}</span>
    <span class="took">${state ? span(to - from) : ""}</span>
  </li>`;
}

function Plan({ actions }) {
  return html`<ol class="waterfall" aria-label="Steps to come">${actions.map((action, i) => html`<${Step} key=${i} row=${{ number: i + 1, name: action.type, text: about(action), state: "" }} />`)}</ol>`;
}

// How everything goes: the states of jobs, the last hour, and for administrators the server.

import { at } from "../api.js";
import { Figures, sum } from "../figures.js";
import { key } from "../session.js";
import { states, word } from "../ui/badge.js";
import { useBegun } from "../ui/begun.js";
import { html } from "../ui/html.js";
import { Icon } from "../ui/icon.js";
import { Failure, Page } from "../ui/notice.js";
import { span } from "../ui/time.js";
import { transports } from "../ui/transports.js";
import { Chart } from "./overview/chart.js";

export default function Overview() {
  const figures = useBegun(key.value, () => new Figures());
  const now = figures.now.value;
  return html`<${Page} title="Overview">
    ${figures.error.value && html`<${Failure} error=${figures.error.value} again=${() => figures.start()} />`}
    ${now && html`
      <${States} jobs=${now.jobs} />
      <${Hour} now=${now} />
      ${now.server && html`<${Server} server=${now.server} rates=${figures.rates} />`}`}
  <//>`;
}

function States({ jobs }) {
  return html`<ul class="tiles states" aria-label="Jobs by state">${states.map((state) => html`<li key=${state}>
    <a class=${`card tile ${state}`} href=${at(`/jobs?state=${state}`)}><b>${jobs[state].toLocaleString()}</b><span><${Icon} name=${state} />${word[state]}</span></a>
  </li>`)}</ul>`;
}

const lines = [
  { of: "submitted", label: "Submitted", color: "--busy" }, { of: "completed", label: "Completed", color: "--good" },
  { of: "failed", label: "Failed", color: "--bad" }, { of: "cancelled", label: "Cancelled", color: "--faint", dash: [4, 3] },
];

function Hour({ now }) {
  const last = Math.floor(Date.parse(now.at) / 60_000);
  const known = new Map(now.minutes.map((m) => [Math.floor(Date.parse(m.at) / 60_000), m]));
  const minutes = Array.from({ length: 60 }, (_, i) => last - 59 + i);
  const data = [minutes.map((m) => m * 60), ...lines.map(({ of }) => minutes.map((m) => known.get(m)?.[of] ?? 0))];
  const words = lines.map(({ of, label }) => `${now.minutes.reduce((all, m) => all + m[of], 0).toLocaleString()} ${label.toLowerCase()}`).join(", ");
  return html`<section aria-label="The last hour">
    <div class="section-head"><h2>The last hour</h2><p class="hint">${words}; a restart of the server begins anew</p></div>
    <div class="card"><${Chart} data=${data} lines=${lines} label=${`Jobs by minute in the last hour: ${words}`} /></div>
    <dl class="tiles">
      <${Times} title="From submit to start, in the last hour" of=${now.timeToStart} />
      <${Times} title="From submit to end, in the last hour" of=${now.timeToEnd} />
    </dl>
  </section>`;
}

function Times({ title, of }) {
  return html`<div class="card tile"><dt>${title}</dt>
    ${of.count === 0 ? html`<dd class="faint">no job</dd>`
      : html`<dd>half within <b>${span(of.p50Ms)}</b>, 99 of 100 within <b>${span(of.p99Ms)}</b></dd>`}
  </div>`;
}

const flow = [{ of: "deliveries", label: "Deliveries a second", color: "--good" }, { of: "events", label: "Events a second", color: "--busy" }];

function Server({ server, rates }) {
  const data = [rates.map((r) => r.at), ...flow.map(({ of }) => rates.map((r) => r[of]))];
  const now = rates.at(-1) ?? { deliveries: 0, events: 0 };
  const readers = Object.entries(server.readers).filter(([, n]) => n > 0).sort((x, y) => y[1] - x[1]);
  const words = `${Math.round(now.deliveries).toLocaleString()} deliveries and ${Math.round(now.events).toLocaleString()} events a second`;
  return html`<section aria-label="The server">
    <div class="section-head"><h2>The server</h2><p class="hint">of all clients: ${words}</p></div>
    <div class="card">${rates.length > 1 ? html`<${Chart} data=${data} lines=${flow} label=${`The last two minutes: ${words}`} span=${120} />` : html`<p class="hint chart-wait">Listening…</p>`}</div>
    <dl class="tiles">
      <div class="card tile"><dt>Readers</dt><dd><b>${sum(server.readers).toLocaleString()}</b> ${readers.map(([kind, n]) => `${n.toLocaleString()} ${transports[kind] ?? kind}`).join(", ")}</dd></div>
      <div class="card tile"><dt>Deliveries</dt><dd><b>${sum(server.deliveries).toLocaleString()}</b> since the start</dd></div>
      <div class="card tile"><dt>Events in a commit</dt><dd><b>${server.commitBatch.mean.toLocaleString()}</b> on average, of ${server.commitBatch.commits.toLocaleString()}</dd></div>
    </dl>
  </section>`;
}

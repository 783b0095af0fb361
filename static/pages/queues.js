// What waits in the queues, how that has moved while the page was open, and who works on them.

import { at, call } from "../api.js";
import { key } from "../session.js";
import { useBegun } from "../ui/begun.js";
import { html, signal } from "../ui/html.js";
import { Icon } from "../ui/icon.js";
import { Empty, Failure, Page } from "../ui/notice.js";
import { Spark } from "../ui/spark.js";
import { span, Time } from "../ui/time.js";

const every = 2_000; // ms between two looks
const kept = 60; // looks that a line shows
const pages = 4; // of 500 queues each: beyond that the list is cut
const rows = 500; // of workers, likewise

export default function Queues() {
  const standing = useBegun(key.value, () => new Standing());
  const now = standing.now.value;
  return html`<${Page} title="Queues and workers">
    ${standing.error.value && html`<${Failure} error=${standing.error.value} again=${() => standing.load()} />`}
    ${now && html`<${Standings} now=${now} history=${standing.history} />`}
  <//>`;
}

// Standing asks again and again while the page is looked at.
class Standing {
  now = signal(null);
  error = signal(null);
  history = new Map(); // name of a queue -> how many jobs it had, the oldest look first

  begin() {
    this.over = false;
    this.seen = () => { if (!document.hidden) this.load(); };
    document.addEventListener("visibilitychange", this.seen);
    this.load();
  }

  end() {
    this.over = true;
    clearTimeout(this.timer);
    document.removeEventListener("visibilitychange", this.seen);
  }

  async load() {
    clearTimeout(this.timer);
    if (this.loading) return;
    this.loading = true;
    try {
      const found = await all();
      this.remember(found);
      this.error.value = null;
      this.now.value = found;
    } catch (error) {
      this.error.value = error;
    }
    this.loading = false;
    if (!this.over && !document.hidden && (this.error.value?.again ?? true)) this.timer = setTimeout(() => this.load(), every);
  }

  remember({ queues, actions }) {
    const before = this.history;
    this.history = new Map([["", actions], ...queues.map((q) => [q.name, q])]
      .map(([name, q]) => [name, [...(before.get(name) ?? []), q.pending + q.running].slice(-kept)]));
  }
}

async function all() {
  let found = await call("/v1/queues");
  for (let n = 1; found.next && n < pages; n++) {
    const more = await call(`/v1/queues?after=${encodeURIComponent(found.next)}`);
    found = { ...more, queues: [...found.queues, ...more.queues] };
  }
  return found;
}

function Standings({ now: { queues, actions, workers, next }, history }) {
  const busy = actions.pending + actions.running > 0;
  if (!queues.length && !workers.length && !busy) return html`<${Nothing} />`;
  const most = Math.max(1, ...[actions, ...queues].map((q) => q.pending + q.running));
  return html`
    <ul class="queues card" aria-label="Queues">
      ${busy && html`<${Queue} key="" queue=${actions} most=${most} history=${history.get("")} />`}
      ${queues.map((q) => html`<${Queue} key=${q.name} queue=${q} most=${most} history=${history.get(q.name)} />`)}
    </ul>
    ${next && html`<p class="hint">There are more queues, which are not shown.</p>`}
    <h2 class="apart">Workers</h2>
    ${workers.length ? html`<${Workers} workers=${workers} />` : html`<p class="hint">No worker has claimed jobs in the last 15 minutes.</p>`}`;
}

// A queue without a name is that of the jobs with actions, which the server runs itself.
function Queue({ queue, most, history }) {
  const { name, pending, due, running, oldestAgeMs, workers } = queue;
  const later = pending - due;
  const share = (n) => ({ width: `${(100 * n) / most}%` });
  return html`<li class="queue-row">
    <h3>${name ? html`<a href=${at(`/jobs?queue=${encodeURIComponent(name)}`)} class="cut">${name}</a>` : "Jobs with actions"}</h3>
    <div class="gauge" aria-hidden="true"><i class="running" style=${share(running)}></i><i class="due" style=${share(due)}></i><i class="later" style=${share(later)}></i></div>
    <${Spark} values=${history ?? []} />
    <ul class="figures">
      <li><i class="running"></i><b>${running.toLocaleString()}</b> running</li>
      <li><i class="due"></i><b>${due.toLocaleString()}</b> due</li>
      <li><i class="later"></i><b>${later.toLocaleString()}</b> later</li>
    </ul>
    <p class="who hint">
      ${oldestAgeMs !== null && html`<span>The oldest waits for ${span(oldestAgeMs)}</span>`}
      ${workers && (workers.length ? html`<span>${many(workers.length, "worker")}</span>`
        : due > 0 && html`<span class="warn-text"><${Icon} name="warn" />No worker has asked for its jobs lately</span>`)}
    </p>
  </li>`;
}

const many = (n, of) => `${n.toLocaleString()} ${of}${n === 1 ? "" : "s"}`;

function Workers({ workers }) {
  return html`<div class="card sideways" tabindex="0" role="region" aria-label="Workers"><table class="plain">
    <thead><tr><th scope="col">Worker</th><th scope="col">Running</th><th scope="col">Queues</th><th scope="col">Seen</th></tr></thead>
    <tbody>${workers.slice(0, rows).map((w) => html`<tr key=${w.name ?? ""}>
      <th scope="row" class="mono">${w.name ?? html`<span class="faint">without a name</span>`}</th>
      <td>${w.running ?? "–"}</td>
      <td>${w.queues.join(", ")}</td>
      <td>${w.lastSeenAt ? html`<${Time} at=${w.lastSeenAt} />` : "at work"}</td>
    </tr>`)}</tbody>
  </table></div>
  ${workers.length > rows && html`<p class="hint">There are more workers, which are not shown.</p>`}`;
}

function Nothing() {
  return html`<${Empty} icon="queues" title="Nothing waits, and nobody works">
    <p>Jobs with a <code>queue</code> wait here for your own workers. This command is one:</p>
    <p><code>jobcast work --queue mail -- ./send-mail.sh</code></p>
  <//>`;
}

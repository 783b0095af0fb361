// One job, live: what it does, what it has left behind, and what can be done with it.

import { at } from "../api.js";
import { go, query, setQuery } from "../router.js";
import { may } from "../session.js";
import { Away } from "../ui/away.js";
import { Badge } from "../ui/badge.js";
import { Copy } from "../ui/copy.js";
import { confirm } from "../ui/dialog.js";
import { html, useEffect, useMemo, useState } from "../ui/html.js";
import { useKeys } from "../ui/keys.js";
import { Empty, Failure, Page } from "../ui/notice.js";
import { sheet } from "../ui/sheet.js";
import { Tabs } from "../ui/tabs.js";
import { toast } from "../ui/toast.js";
import { Artifacts } from "./job/artifacts.js";
import { Events } from "./job/events.js";
import { Log } from "./job/log.js";
import { ended, Model } from "./job/model.js";
import { Screen } from "./job/screen.js";
import { CopyAs } from "./job/snippets.js";
import { Steps } from "./job/steps.js";
import { Facts, Progress, Timeline, Why } from "./job/summary.js";

await sheet(new URL("job/style.css", import.meta.url));

export default function Job({ params: { id } }) {
  const model = useMemo(() => new Model(id), [id]);
  useEffect(() => { model.begin(); return () => model.end(); }, [model]);
  const { job, error } = model.state.value;
  if (!job && error) return html`<${Page} title="Job">${error.status === 404 ? html`<${Missing} id=${id} />` : html`<${Failure} error=${error} again=${() => model.begin()} />`}<//>`;
  if (!job) return html`<${Page} title="Job"><p class="hint" role="status">Loading…</p><//>`;
  return html`<${Shown} model=${model} />`;
}

function Missing({ id }) {
  return html`<${Empty} icon="search" title="This job is not there">
    <p>No job <code>${id}</code> of yours is kept. It may have been deleted after its time.</p><p><a href=${at("/jobs")}>All jobs</a></p><//>`;
}

function Shown({ model }) {
  const { job, error, logs, events, artifacts, attempts, earlier, version } = model.state.value;
  const live = !ended(job);
  const files = new Set([...(job.artifacts ?? []).map((a) => a.name), ...artifacts.keys()]).size;
  const tabs = [
    { id: "steps", label: "Steps", panel: () => html`${live && hasBrowser(job) && html`<${Screen} id=${job.id} />`}<${Steps} job=${job} attempts=${attempts} version=${version} />` },
    { id: "log", label: "Log", count: logs.length, panel: () => html`<${Log} logs=${logs} version=${version} earlier=${earlier} live=${live} />` },
    { id: "artifacts", label: "Artifacts", count: files, panel: () => html`<${Artifacts} job=${job} artifacts=${artifacts} version=${version} live=${live} />` },
    { id: "events", label: "Events", count: events.length, panel: () => html`<${Events} events=${events} version=${version} />` },
    job.result && { id: "result", label: "Result", panel: () => html`<${Json} what="result" value=${job.result} />` },
    { id: "definition", label: "Definition", panel: () => html`<${Json} what="job" value=${job} />` },
  ].filter(Boolean);
  return html`<${Page} title=${job.title || `Job ${job.id.slice(0, 8)}`} beside=${html`<${Badge} status=${job.status} /><span class="grow"></span><${Acts} model=${model} job=${job} />`}>
    <div class="job">
      ${error && html`<${Failure} error=${error} />`}
      ${live && html`<${Away} />`}
      <${Why} job=${job} attempts=${attempts} version=${version} />
      <div class="card"><${Timeline} job=${job} attempts=${attempts} version=${version} /><${Progress} job=${job} /></div>
      <div class="job-body">
        <section class="card job-main" aria-label="What happens">
          ${earlier && html`<p class="notice"><span class="grow">Only the newest events are here.</span><button type="button" class="button small" onClick=${() => model.readEarlier().catch((e) => toast(e.message, "bad"))}>Load the earlier ones</button></p>`}
          <${Tabs} label="About this job" tabs=${tabs} selected=${query.value.get("tab") ?? "steps"} onSelect=${(tab) => setQuery({ tab: tab === "steps" ? "" : tab }, { replace: true })} />
        </section>
        <aside class="card" aria-label="Facts"><${Facts} job=${job} /></aside>
      </div>
    </div>
  <//>`;
}

const hasBrowser = (job) => job.actions?.some((a) => a.type !== "http" && a.type !== "wait");

function Acts({ model, job }) {
  const [copying, setCopying] = useState(false);
  const [busy, setBusy] = useState(false);
  const canCancel = may("submit") && !ended(job);
  const canRetry = may("submit") && (job.status === "failed" || job.status === "cancelled");
  const act = async (verb, then) => {
    setBusy(true);
    try {
      then(await model.act(verb));
    } catch (error) {
      toast(error.message, "bad");
    } finally {
      setBusy(false);
    }
  };
  const cancel = async () => {
    if (await confirm({ title: "Cancel this job?", text: "What it does now is broken off, and it is not tried again.", action: "Cancel the job", danger: true })) act("cancel", () => toast("The job is cancelled."));
  };
  const retry = () => act("retry", (next) => { toast("This is the new job.", "good"); go(`/jobs/${next.id}`); });
  const press = (name) => document.querySelector(`.acts [data-act=${name}]`)?.click();
  useKeys("This job", [["c", "cancel it", () => press("cancel")], ["r", "retry it", () => press("retry")], ["e", "run it again with edits", () => press("edit")], ["s", "copy as …", () => press("copy")]]);
  return html`<div class="row acts">
    ${canRetry && html`<button type="button" class="button primary" data-act="retry" disabled=${busy} onClick=${retry}>Retry</button>`}
    ${canCancel && html`<button type="button" class="button" data-act="cancel" disabled=${busy} onClick=${cancel}>Cancel</button>`}
    ${may("submit") && html`<a class="button" data-act="edit" href=${at(`/submit?from=${job.id}`)}>Run again with edits</a>`}
    <button type="button" class="button" data-act="copy" onClick=${() => setCopying(true)}>Copy as…</button>
    ${copying && html`<${CopyAs} id=${job.id} onClose=${() => setCopying(false)} />`}
  </div>`;
}

function Json({ what, value }) {
  const text = JSON.stringify(value, null, 2);
  return html`<div class="row end bar"><${Copy} text=${text} label=${`Copy the ${what}`} word="Copy" /></div><pre class="code" tabindex="0" aria-label=${`The ${what} as JSON`}>${text}</pre>`;
}

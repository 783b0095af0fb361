// Submitting a job: a form and the JSON that it stands for, side by side.

import { call } from "../api.js";
import { go, query, setQuery } from "../router.js";
import { html, useEffect, useRef, useState } from "../ui/html.js";
import { Icon } from "../ui/icon.js";
import { useKeys } from "../ui/keys.js";
import { Failure, Page } from "../ui/notice.js";
import { sheet } from "../ui/sheet.js";
import { toast } from "../ui/toast.js";
import { Form } from "./submit/form.js";
import { forget, problems, show } from "./submit/problems.js";
import { samples } from "./submit/samples.js";
import { changed, draft, from, place, setSpec, setText, take } from "./submit/spec.js";

await sheet(new URL("submit/style.css", import.meta.url));

if (draft.value.text === "{}") setSpec(samples[0].spec);

export default function Submit() {
  const [actions, setActions] = useState([]);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const text = useRef(null);
  const { spec, broken } = draft.value;
  useEffect(() => {
    call("/v1/actions").then((a) => setActions(sorted(a.actions)), setError);
    copied(query.value.get("from")).catch(setError);
    return () => { problems.value = []; };
  }, []);
  useEffect(() => dropped(), []);
  const submit = async () => {
    if (broken) return setError(new Error(`The JSON cannot be read: ${broken}`));
    setBusy(true);
    setError(null);
    problems.value = [];
    try {
      const job = await call("/v1/jobs", { json: spec });
      go(`/jobs/${job.id}`);
    } catch (problem) {
      problems.value = problem.errors ?? [];
      setError(problem);
      setTimeout(() => document.querySelector(".submit-why")?.focus());
    } finally {
      setBusy(false);
    }
  };
  useKeys("Submit", [["Ctrl+Enter", "submits, also from a field"]]);
  const keys = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !busy) submit();
  };
  const set = (pointer, value) => { forget(pointer); setSpec(changed(draft.value.spec, pointer, value)); };
  const select = (pointer) => {
    const { begin, end } = place(draft.value.text, pointer);
    text.current.focus();
    text.current.setSelectionRange(begin, end);
    text.current.scrollTop = (draft.value.text.slice(0, begin).split("\n").length - 4) * 20;
  };
  return html`<${Page} title="Submit" beside=${html`<button type="button" class="button primary" disabled=${busy} onClick=${submit}>${busy ? "Submitting…" : "Submit"}</button>`}>
    <div class="submit" onKeyDown=${keys}>
      <${Beginnings} actions=${actions} />
      ${error && html`<${Wrong} error=${error} select=${select} />`}
      <div class="submit-body">
        <section class="card form" aria-label="Form">
          ${broken && html`<p class="notice warn"><${Icon} name="warn" /><span>The form follows the JSON again once that can be read.</span></p>`}
          <fieldset disabled=${!!broken}><legend class="hidden">The job</legend><${Form} spec=${spec} actions=${actions} set=${set} replace=${(next) => { problems.value = []; setSpec(next); }} /></fieldset>
        </section>
        <section class="card source" aria-label="JSON"><${Text} area=${text} /></section>
      </div>
    </div>
  <//>`;
}

// sorted has the actions that need no browser first.
const sorted = (actions) => [...actions.filter((a) => plain.includes(a.type)), ...actions.filter((a) => !plain.includes(a.type))];
const plain = ["http", "wait"];

// copied begins with a job that is there.
async function copied(id) {
  if (!id) return;
  setSpec(from(await call(`/v1/jobs/${encodeURIComponent(id)}`)));
  setQuery({ from: "" }, { replace: true });
}

// took reads a file or a text that was brought, and tells what it was.
function took(text) {
  problems.value = [];
  const good = take(text);
  const { spec } = draft.value;
  if (!good) return toast("That is no JSON of a job or a recording.", "bad");
  return toast(Array.isArray(spec.steps) ? `A recording of ${spec.steps.length} steps: ${spec.title ?? "without a title"}.` : "A job was read.", "good");
}

// dropped takes files that are dropped anywhere on the page, and texts that are pasted beside its fields.
function dropped() {
  const over = (event) => event.preventDefault();
  const drop = async (event) => {
    event.preventDefault();
    const [file] = event.dataTransfer.files;
    took(file ? await file.text() : event.dataTransfer.getData("text"));
  };
  const paste = (event) => {
    if (event.target.closest?.("input, textarea")) return;
    const text = event.clipboardData.getData("text");
    if (text.trim()) took(text);
  };
  const all = { dragover: over, drop, paste };
  for (const [name, f] of Object.entries(all)) document.addEventListener(name, f);
  return () => { for (const [name, f] of Object.entries(all)) document.removeEventListener(name, f); };
}

function Beginnings({ actions }) {
  const file = useRef(null);
  const there = samples.filter((s) => !s.needs || actions.some((a) => a.type === s.needs));
  const open = async (event) => {
    const [chosen] = event.target.files;
    event.target.value = "";
    if (chosen) took(await chosen.text());
  };
  return html`<div class="row beginnings" role="group" aria-label="Begin with">
    <span class="hint">Begin with</span>
    ${there.map((s) => html`<button key=${s.title} type="button" class="button small" title=${s.about} onClick=${() => { problems.value = []; setSpec(s.spec); }}>${s.title}</button>`)}
    <button type="button" class="button small" onClick=${() => file.current.click()}>Open a file…</button>
    <input ref=${file} type="file" accept=".json,application/json" hidden aria-label="A job or a recording" onChange=${open} />
    <span class="hint">or drop a recording of Chrome's here, or paste it.</span>
  </div>`;
}

// Wrong tells a refusal, with a way to each place that it is about.
function Wrong({ error, select }) {
  const all = error.errors ?? [];
  if (!all.length) return html`<${Failure} error=${error} />`;
  return html`<div class="notice bad submit-why" role="alert" tabindex="-1">
    <${Icon} name="warn" />
    <div class="grow">
      <p>${all.length === 1 ? "The server does not take this job, for one reason:" : `The server does not take this job, for ${all.length} reasons:`}</p>
      <ul>${all.map((p) => html`<li key=${p.pointer + p.detail}><button type="button" class="link" onClick=${() => show(p.pointer) || select(p.pointer)}><code>${p.pointer || "/"}</code></button> ${p.detail}${" "}
        <button type="button" class="link" onClick=${() => select(p.pointer)}>in the JSON</button></li>`)}</ul>
    </div>
  </div>`;
}

function Text({ area }) {
  const { text, broken } = draft.value;
  return html`
    <label for="spec">JSON</label>
    <textarea id="spec" ref=${area} rows="24" spellcheck=${false} autocapitalize="off" value=${text} aria-invalid=${!!broken || undefined} aria-describedby="spec-note"
      onInput=${(e) => setText(e.target.value)}></textarea>
    <p class=${broken ? "field-bad" : "hint"} id="spec-note">${broken || "The body of POST /v1/jobs. What Chrome's Recorder exports as JSON is one as it is."}</p>`;
}

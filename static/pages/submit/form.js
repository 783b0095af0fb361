// The form beside the JSON: what runs the job, its actions by their schemas, its settings.

import { html, useId, useState } from "../../ui/html.js";
import { Icon } from "../../ui/icon.js";
import { about } from "../job/format.js";
import { Field, pointerTo } from "./fields.js";
import { problems } from "./problems.js";
import { listName } from "./spec.js";

// The members of a submit (protocol.md 3), as the schemas of actions are written.
const settings = {
  maxAttempts: { type: "integer", description: "1 to 25; 3 unless it is given" },
  timeoutMs: { type: "integer", description: "milliseconds for each attempt; 300000 unless it is given" },
  priority: { type: "integer", description: "-100 to 100, higher first" },
  runAt: { type: "string", description: "not before this time, as in 2030-01-01T08:00:00Z" },
  expiresInMs: { type: "integer", description: "fails if nobody has begun it after so many milliseconds" },
  metadata: { type: "object", description: "an object that is kept and returned" },
};
const ofBrowsers = {
  console: { enum: ["debug", "info", "warn", "error"], description: "what pages log becomes the job's log, from this level on" },
  timeout: { type: "integer", description: "milliseconds for each step that has none of its own" },
  state: { type: "object", description: '{"use": …, "save": …}: the cookies and storage to begin with, and to leave behind' },
};

export function Form({ spec, actions, set, replace }) {
  const queued = "queue" in spec;
  const choose = (queue) => {
    const { actions: old, steps, queue: name, payload, ...rest } = spec;
    if (queue === queued) return;
    replace(queue ? { ...rest, queue: name ?? "", payload: payload ?? null } : { ...rest, actions: steps ?? old ?? [] });
  };
  const fields = (all) => Object.entries(all).map(([name, schema]) => html`<${Field} key=${name} name=${name} pointer=${`/${name}`} schema=${schema} value=${spec[name]} set=${set} />`);
  return html`
    <${Field} name="title" pointer="/title" schema=${{ type: "string" }} value=${spec.title ?? undefined} set=${set} />
    <div class="who" role="radiogroup" aria-labelledby="who"><span id="who">Who runs it</span><div class="segments">
      <label><input type="radio" name="who" checked=${!queued} onChange=${() => choose(false)} /><span>This server, by actions</span></label>
      <label><input type="radio" name="who" checked=${queued} onChange=${() => choose(true)} /><span>A worker of yours</span></label>
    </div></div>
    ${queued ? html`
      <${Field} name="queue" required pointer="/queue" schema=${{ type: "string", description: "a name of a-z, 0-9, dot, underscore and hyphen" }} value=${spec.queue} set=${set} />
      <${Field} name="payload" pointer="/payload" schema=${{ description: "any JSON, for the worker" }} value=${spec.payload} set=${set} />`
    : html`<${Actions} spec=${spec} actions=${actions} set=${set} />`}
    <details class="more" open=${anyOf(spec, settings)}><summary>Settings</summary><div class="fields">${fields(settings)}</div></details>
    ${!queued && html`<details class="more" open=${anyOf(spec, ofBrowsers)}><summary>For browser steps</summary><div class="fields">${fields(ofBrowsers)}</div></details>`}`;
}

const anyOf = (spec, members) => Object.keys(members).some((name) => spec[name] !== undefined || problems.value.some((p) => p.pointer.startsWith(`/${name}`)));

function Actions({ spec, actions, set }) {
  const name = listName(spec);
  const list = Array.isArray(spec[name]) ? spec[name] : [];
  const [next, setNext] = useState("");
  const id = useId();
  const change = (items) => set(`/${name}`, items);
  const moved = (from, to) => {
    const items = [...list];
    items.splice(to, 0, ...items.splice(from, 1));
    change(items);
  };
  const add = () => change([...list, blank(actions.find((a) => a.type === (next || actions[0]?.type))?.schema)]);
  const own = problems.value.filter((p) => p.pointer === `/${name}` || p.pointer === "");
  return html`<section aria-labelledby=${`${id}-title`}>
    <h2 id=${`${id}-title`} tabindex="-1" data-pointer=${`/${name}`}>Actions</h2>
    ${own.map((p) => html`<p class="field-bad" key=${p.detail}>${p.detail}</p>`)}
    <ol class="actions">${list.map((action, i) => html`<${Action} key=${i} action=${action} n=${i} last=${i === list.length - 1} pointer=${`/${name}/${i}`} actions=${actions} set=${set}
      onMove=${(to) => moved(i, to)} onRemove=${() => { change(list.filter((_, n) => n !== i)); document.getElementById(`${id}-title`).focus(); }} />`)}</ol>
    <div class="row add">
      <label class="hidden" for=${`${id}-type`}>Type of the next action</label>
      <select id=${`${id}-type`} value=${next || actions[0]?.type} onChange=${(e) => setNext(e.target.value)}>${actions.map((a) => html`<option key=${a.type} value=${a.type}>${a.type}</option>`)}</select>
      <button type="button" class="button" disabled=${!actions.length} onClick=${add}>Add action</button>
    </div>
  </section>`;
}

// blank is an action with the members that it must have.
function blank(schema) {
  const action = {};
  for (const name of schema?.required ?? ["type"]) {
    const member = schema.properties[name];
    action[name] = member.const ?? ({ integer: member.minimum ?? 0, number: 0, array: [], object: {}, boolean: false }[[member.type].flat()[0]] ?? "");
  }
  if (schema?.properties.selector && schema.oneOf) action.selector = "";
  return action;
}

// What is shown of an action at once, if its schema has it; the rest is behind "More".
const usual = ["url", "method", "selector", "value", "text", "key", "name", "ms", "pattern", "expression", "saveAs", "what"];

function Action({ action, n, last, pointer, actions, set, onMove, onRemove }) {
  const schema = actions.find((a) => a.type === action?.type)?.schema;
  const mine = problems.value.filter((p) => p.pointer === pointer || p.pointer.startsWith(`${pointer}/`));
  const members = Object.entries(schema?.properties ?? {}).filter(([name]) => name !== "type");
  const must = schema?.required ?? [];
  const isBad = (name) => mine.some((p) => `${p.pointer}/`.startsWith(`${pointerTo(pointer, name)}/`));
  const first = members.filter(([name]) => action[name] !== undefined || must.includes(name) || isBad(name) || (usual.includes(name) && !(name === "selector" && action.selectors)));
  const rest = members.filter((m) => !first.includes(m));
  const unknown = Object.keys(action ?? {}).filter((name) => name !== "type" && !schema?.properties[name]);
  const own = mine.filter((p) => p.pointer === pointer || p.pointer === `${pointer}/type` || unknown.some((name) => p.pointer.startsWith(pointerTo(pointer, name))));
  const show = ([name, member]) => html`<${Field} key=${name} name=${name} pointer=${pointerTo(pointer, name)} schema=${member} value=${action[name] ?? undefined} required=${must.includes(name)} set=${set} />`;
  const label = `action ${n + 1}`;
  return html`<li class=${`action ${mine.length ? "bad" : ""}`}>
    <details open=${mine.length > 0 || undefined}>
      <summary data-pointer=${pointer}><span class="faint">${n + 1}</span> <b>${String(action?.type ?? "?")}</b> <span class="cut hint">${action ? about(action) : ""}</span>
        ${mine.length > 0 && html`<span class="wrong"><${Icon} name="warn" />${mine.length === 1 ? "a problem" : `${mine.length} problems`}</span>`}</summary>
      ${schema?.description && html`<p class="hint">${schema.description}</p>`}
      ${!schema && html`<p class="hint">This server has no actions of this type. The JSON has all of it.</p>`}
      ${own.map((p) => html`<p class="field-bad" key=${p.pointer}>${p.pointer.slice(pointer.length + 1)} ${p.detail}</p>`)}
      <div class="fields">${first.map(show)}</div>
      ${rest.length > 0 && html`<details class="more"><summary>More</summary><div class="fields">${rest.map(show)}</div></details>`}
    </details>
    <div class="tools">
      <button type="button" class="icon-button" aria-label=${`Move ${label} up`} disabled=${n === 0} onClick=${() => onMove(n - 1)}><${Icon} name="up" /></button>
      <button type="button" class="icon-button" aria-label=${`Move ${label} down`} disabled=${last} onClick=${() => onMove(n + 1)}><${Icon} name="down" /></button>
      <button type="button" class="icon-button" aria-label=${`Remove ${label}`} onClick=${onRemove}><${Icon} name="close" /></button>
    </div>
  </li>`;
}

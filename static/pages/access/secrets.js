// Secrets, which nobody can read again, and browser states: what jobs have left behind to log in with.

import { call } from "../../api.js";
import { html, useState } from "../../ui/html.js";
import { Empty, Failure } from "../../ui/notice.js";
import { Time } from "../../ui/time.js";
import { Field, Form, hosts } from "./form.js";
import { Cell, More, Nothing, remove, Table, usePages } from "./list.js";
import { toast } from "../../ui/toast.js";

// Kept shows a list, or why this server keeps none.
function Kept({ list, icon, title, nothing, children }) {
  if (list.error?.status === 422) {
    return html`<${Empty} icon="keys" title="This server keeps none"><p>It was started without <code>--secret-key-file</code>, the key that they are encrypted with.</p><//>`;
  }
  if (list.error) return html`<${Failure} error=${list.error} again=${list.load} />`;
  if (!list.loaded) return null;
  return list.items.length ? html`${children}<${More} list=${list} />` : html`<${Empty} icon=${icon} title=${title}><p>${nothing}</p><//>`;
}

export function Secrets() {
  const list = usePages("/v1/secrets", "secrets");
  const [putting, setPutting] = useState(null); // {} or the one that is replaced
  const off = list.error?.status === 422;
  return html`
    ${!off && html`<div class="access-bar">
      <p class="access-intro">A secret is a text that steps of jobs type into pages by its name. Nobody can read it again, here or over the API.</p>
      <button type="button" class="button primary" onClick=${() => setPutting({})}>New secret</button>
    </div>`}
    <${Kept} list=${list} icon="keys" title="No secrets yet" nothing="Passwords and keys of other services, for jobs that log in.">
      <${Table} label="Secrets" columns=${[["Name"], ["May go to"], ["Changed"], ["", "act"]]}>
        ${list.items.map((s) => html`<tr key=${s.name} role="row">
          <${Cell}><b class="mono">${s.name}</b><//>
          <${Cell} name="May go to">${s.hosts?.length ? html`<span class="chips">${s.hosts.map((h) => html`<span key=${h} class="chip">${h}</span>`)}</span>` : html`<span>any host</span>`}<//>
          <${Cell} name="Changed" kind="brief"><${Time} at=${s.updatedAt} /><//>
          <${Cell} kind="act"><span class="row end">
            <button type="button" class="button small" onClick=${() => setPutting(s)} aria-label=${`Replace ${s.name}`}>Replace</button>
            <button type="button" class="button small" aria-label=${`Delete ${s.name}`} onClick=${() => remove({
              list, path: `/v1/secrets/${encodeURIComponent(s.name)}`, done: `${s.name} is deleted.`, title: `Delete ${s.name}?`, action: "Delete it",
              text: "Jobs that name it fail from now on.",
            })}>Delete</button>
          </span><//>
        </tr>`)}
      <//>
    <//>
    ${putting && html`<${PutSecret} old=${putting} list=${list} onClose=${() => setPutting(null)} />`}`;
}

function PutSecret({ old, list, onClose }) {
  const submit = async (values) => {
    const name = old.name ?? values.get("name").trim();
    await call(`/v1/secrets/${encodeURIComponent(name)}`, { method: "PUT", json: { value: values.get("value"), hosts: hosts(values.get("hosts")) } });
    toast(`${name} is kept.`, "good");
    list.load();
  };
  return html`<${Form} title=${old.name ? `Replace ${old.name}` : "New secret"} action=${old.name ? "Replace" : "Keep"} submit=${submit} onClose=${onClose}>
    ${!old.name && html`<${Field} label="Name" name="name" maxlength="64" pattern="[A-Za-z0-9._\\-]+" hint="Letters, digits, dot, underscore and hyphen. Steps name it." autofocus required />`}
    <${Field} label="Value" name="value" type="password" autocomplete="new-password" minlength="3" maxlength="4096" required />
    <${Field} label="Hosts that it may go to" name="hosts" placeholder="any" value=${old.hosts?.join(", ")} hint="As in example.com, *.example.com; separated by commas." />
  <//>`;
}

export function States() {
  const list = usePages("/v1/browser-states", "states");
  return html`
    ${!list.error && html`<p class="access-intro">A browser state holds the cookies and the local storage that a job has left behind under <code>state</code>, so that the next one begins logged in.</p>`}
    <${Kept} list=${list} icon="screen" title="No browser states yet" nothing="A job with state.save leaves one behind when it has completed.">
      <${Table} label="Browser states" columns=${[["Name"], ["Of"], ["Size", "right"], ["Changed"], ["", "act"]]}>
        ${list.items.map((s) => html`<tr key=${s.name} role="row">
          <${Cell}><b class="mono">${s.name}</b><//>
          <${Cell} name="Of">${s.origins?.length ? html`<span>${s.origins.map((o) => html`<span key=${o} class="under">${o}</span>`)}</span>` : html`<${Nothing} />`}<//>
          <${Cell} name="Size" kind="right"><span>${size(s.size)}</span><//>
          <${Cell} name="Changed" kind="brief"><${Time} at=${s.updatedAt} /><//>
          <${Cell} kind="act"><button type="button" class="button small" aria-label=${`Delete ${s.name}`} onClick=${() => remove({
            list, path: `/v1/browser-states/${encodeURIComponent(s.name)}`, done: `${s.name} is deleted.`, title: `Delete ${s.name}?`, action: "Delete it",
            text: "Jobs that begin with it are refused from now on, until one saves it anew.",
          })}>Delete</button><//>
        </tr>`)}
      <//>
    <//>`;
}

const size = (n) => (n < 1_024 ? `${n} B` : `${(n / 1_024).toFixed(1)} KiB`);

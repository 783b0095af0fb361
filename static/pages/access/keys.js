// Keys: made, shown once, revoked.

import { call } from "../../api.js";
import { me } from "../../session.js";
import { html, useState } from "../../ui/html.js";
import { Failure } from "../../ui/notice.js";
import { now, Time } from "../../ui/time.js";
import { Choice, Field, Form, hosts, Once } from "./form.js";
import { Cell, More, Nothing, remove, Table, usePages } from "./list.js";

const scopes = [
  ["submit", "make, cancel and retry jobs"], ["watch", "read jobs and their events"], ["work", "claim jobs and report on them"],
  ["admin", "manage keys, secrets and connections"],
];
const day = 86_400_000;
const ends = [["", "never"], [day, "in a day"], [30 * day, "in 30 days"], [90 * day, "in 90 days"], [365 * day, "in a year"]];
const columns = [["Key"], ["May"], ["Limits"], ["Created"], ["Last used"], ["Ends"], ["", "act"]];

export function Keys() {
  const list = usePages("/v1/keys", "keys");
  const [over, setOver] = useState(false);
  const [making, setMaking] = useState(false);
  const live = list.items.filter((k) => !ended(k));
  const shown = over ? list.items : live;
  return html`
    <div class="access-bar">
      <p class="access-intro">A key lets a program in, for as long as it is good. Of a key only a hash is kept.</p>
      ${list.items.length > live.length && html`<label class="check"><input type="checkbox" checked=${over} onChange=${(e) => setOver(e.target.checked)} />Also those that have ended</label>`}
      <button type="button" class="button primary" onClick=${() => setMaking(true)}>New key</button>
    </div>
    ${list.error && html`<${Failure} error=${list.error} again=${list.load} />`}
    ${list.loaded && html`<${Table} label="Keys" columns=${columns}>${shown.map((k) => html`<${Row} key=${k.id} k=${k} list=${list} />`)}<//>`}
    <${More} list=${list} />
    ${making && html`<${NewKey} list=${list} onClose=${() => setMaking(false)} />`}`;
}

const ended = (k) => Boolean(k.revokedAt) || Boolean(k.expiresAt) && Date.parse(k.expiresAt) <= now.value;

function Row({ k, list }) {
  const mine = k.id === me.value.keyId;
  const over = ended(k);
  const name = k.name || k.id;
  const revoke = () => remove({
    list, path: `/v1/keys/${encodeURIComponent(k.id)}`, done: `${name} is revoked.`, title: `Revoke ${name}?`, action: "Revoke it",
    text: mine ? "You are signed in with this key: you will be signed out, here and wherever else it is used."
      : "Programs that use it are refused from now on, and their connections end within a second. That cannot be undone.",
  });
  return html`<tr role="row" class=${over ? "over" : ""}>
    <${Cell}><b>${k.name || "without a name"}</b> ${mine && html`<span class="chip mine">yours</span>`}<span class="under mono">${k.id}</span><//>
    <${Cell} name="May"><span class="chips">${k.scopes.map((s) => html`<span key=${s} class="chip">${s}</span>`)}</span><//>
    <${Cell} name="Limits" kind=${limits(k).length ? "" : "empty-cell"}>${limits(k).length ? html`<span>${limits(k).map((l) => html`<span key=${l} class="under">${l}</span>`)}</span>` : html`<${Nothing} />`}<//>
    <${Cell} name="Created" kind="brief"><${Time} at=${k.createdAt} /><//>
    <${Cell} name="Last used" kind="brief">${k.lastUsedAt ? html`<${Time} at=${k.lastUsedAt} />` : html`<span>never</span>`}<//>
    <${Cell} name="Ends" kind="brief">${k.revokedAt ? html`<span>revoked <${Time} at=${k.revokedAt} /></span>` : k.expiresAt ? html`<span>${over ? "ended " : ""}<${Time} at=${k.expiresAt} /></span>` : html`<span>never</span>`}<//>
    <${Cell} kind=${over ? "act empty-cell" : "act"}>${!over && html`<button type="button" class="button small" onClick=${revoke} aria-label=${`Revoke ${name}`}>Revoke</button>`}<//>
  </tr>`;
}

function limits(k) {
  return [
    k.maxConnections && `${k.maxConnections.toLocaleString()} connections`,
    k.allowHosts?.length && `only ${k.allowHosts.join(", ")}`, k.denyHosts?.length && `not ${k.denyHosts.join(", ")}`,
  ].filter(Boolean);
}

function NewKey({ list, onClose }) {
  const submit = async (values) => {
    const key = await call("/v1/keys", { json: {
      name: values.get("name").trim(), scopes: values.getAll("scope"),
      expiresAt: values.get("ends") ? new Date(Date.now() + Number(values.get("ends"))).toISOString() : undefined,
      maxConnections: values.get("connections") ? Number(values.get("connections")) : undefined,
      allowHosts: hosts(values.get("hosts")),
    } });
    list.load();
    return html`<${Once} text=${key.key} what="key" onClose=${onClose} />`;
  };
  return html`<${Form} title="New key" action="Create" submit=${submit} onClose=${onClose}>
    <${Field} label="Name" name="name" maxlength="100" hint="What it is for, to know it again." autofocus required />
    <fieldset class="checks">
      <legend>May</legend>
      ${scopes.map(([name, what]) => html`<label key=${name}><input type="checkbox" name="scope" value=${name} defaultChecked=${name !== "admin"} />${name}<span class="hint">${what}</span></label>`)}
    </fieldset>
    <${Field} label="Ends" name="ends">${(a) => html`<${Choice} options=${ends} ...${a} />`}<//>
    <${Field} label="Connections at once" name="connections" type="number" min="1" max="100000" placeholder="as the server is set" />
    <${Field} label="Hosts that its jobs may reach" name="hosts" placeholder="all that the server allows" hint="As in example.com, *.example.com; separated by commas." />
  <//>`;
}

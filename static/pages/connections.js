// Who is connected at the moment, on all transports, and how far behind each is.

import { at } from "../api.js";
import { query, setQuery } from "../router.js";
import { me } from "../session.js";
import { html } from "../ui/html.js";
import { Icon } from "../ui/icon.js";
import { Empty, Failure, Page } from "../ui/notice.js";
import { sheet } from "../ui/sheet.js";
import { Time } from "../ui/time.js";
import { transports } from "../ui/transports.js";
import { Cell, More, Nothing, remove, Table, usePages } from "./access/list.js";

await sheet(new URL("access/style.css", import.meta.url));

const every = 2_000; // ms
const columns = [["Transport"], ["Key"], ["Watches"], ["Behind", "right"], ["From"], ["Since"], ["", "act"]];

export default function Connections() {
  const list = usePages("/v1/connections", "connections", { every });
  const wanted = query.value.get("q") ?? "";
  const shown = list.items.filter((c) => !wanted || text(c).includes(wanted.toLowerCase()));
  return html`<${Page} title="Connections" wide=${true}>
    <div class="filters">
      <div class="search"><${Icon} name="search" />
        <input type="search" data-search aria-label="Search" placeholder="Key, transport, job, address" value=${wanted} onInput=${(e) => setQuery({ q: e.target.value }, { replace: true })} /><kbd aria-hidden="true">/</kbd>
      </div>
    </div>
    ${list.error && html`<${Failure} error=${list.error} again=${list.load} />`}
    ${list.loaded && (shown.length ? html`<${Table} label="Connections" columns=${columns}>
      ${shown.map((c) => html`<${Row} key=${c.id} c=${c} list=${list} />`)}
    <//>` : html`<${None} filtered=${wanted && list.items.length} />`)}
    ${list.loaded && html`<p class="hint access-more" role="status">${count(shown.length, list, wanted)}</p>`}
    <${More} list=${list} />
  <//>`;
}

function count(n, list, wanted) {
  if (!list.items.length) return "";
  const all = `${list.items.length.toLocaleString()}${list.next ? "+" : ""}`;
  return wanted ? `${n.toLocaleString()} of ${all}.` : `${all} connected.`;
}

const text = (c) => [transports[c.transport], c.transport, c.key.name, c.key.id, c.address, c.userAgent, ...c.rooms.names].join(" ").toLowerCase();

function None({ filtered }) {
  return filtered ? html`<${Empty} icon="search" title="No connection is like that" />`
    : html`<${Empty} icon="connections" title="Nobody is connected"><p>Whoever watches jobs or events stands here: browsers, programs, <code>jobcast watch</code>.</p><//>`;
}

function Row({ c, list }) {
  const mine = c.key.id === me.value.keyId;
  const end = () => remove({
    list, path: `/v1/connections/${encodeURIComponent(c.id)}`, done: "The connection is told to end.", title: "End this connection?", action: "End it",
    text: `The ${transports[c.transport] ?? c.transport} connection of ${c.key.name || c.key.id}${c.address ? ` from ${c.address}` : ""} is told that an administrator has ended it, and stays away until its program connects anew.${mine ? " It was opened with the key that you are signed in with, perhaps by this page." : ""}`,
  });
  return html`<tr role="row">
    <${Cell}><b>${transports[c.transport] ?? c.transport}</b>${c.conflated && html` <span class="chip" title="It gets only the newest progress of each batch">conflated</span>`}<//>
    <${Cell} name="Key"><span><b>${c.key.name || "without a name"}</b> ${mine && html`<span class="chip mine">yours</span>`}
      <span class="under"><span class="mono">${c.key.id}</span>${c.tokenId && ", by a token"}</span></span><//>
    <${Cell} name="Watches"><${Rooms} rooms=${c.rooms} /><//>
    <${Cell} name="Behind" kind="right"><${Lag} c=${c} /><//>
    <${Cell} name="From"><span>${c.address ?? "this machine"}${c.userAgent && html`<span class="under" title=${c.userAgent}>${program(c.userAgent)}</span>`}</span><//>
    <${Cell} name="Since" kind="brief"><${Time} at=${c.since} /><//>
    <${Cell} kind="act"><button type="button" class="button small" onClick=${end} aria-label=${`End the connection of ${c.key.name || c.key.id}`}>End</button><//>
  </tr>`;
}

function Rooms({ rooms }) {
  if (!rooms.count) return html`<${Nothing} />`;
  const beyond = rooms.count - rooms.names.length;
  return html`<span class="chips">${rooms.names.map((name) => html`<${Room} key=${name} name=${name} />`)}${beyond > 0 && html`<span class="faint">and ${beyond} more</span>`}</span>`;
}

function Room({ name }) {
  const job = name.startsWith("job:") && name.slice(4);
  return job ? html`<a href=${at(`/jobs/${job}`)} title=${job}>job <span class="mono">…${job.slice(-8)}</span></a>` : html`<span>all jobs</span>`;
}

// Lag says how many events a connection has yet to be given.
function Lag({ c }) {
  if (!c.position) return html`<${Nothing} />`;
  const n = c.lag.toLocaleString();
  return html`<span title=${`At ${c.position}`}>${c.lag ? html`<span class="chip warn">${n} ${c.lag === 1 ? "event" : "events"}</span>` : "nothing"}</span>`;
}

// program is what a person would call a User-Agent.
function program(agent) {
  const browser = /(Edg|Firefox|Chrome|Safari)\/([\d]+)/.exec(agent);
  if (!agent.startsWith("Mozilla/") || !browser) return agent.length > 40 ? `${agent.slice(0, 40)}…` : agent;
  const system = /Windows|Mac OS X|Android|iPhone|iPad|Linux/.exec(agent)?.[0];
  return `${browser[1] === "Edg" ? "Edge" : browser[1]} ${browser[2]}${system ? `, ${system.replace("Mac OS X", "macOS")}` : ""}`;
}

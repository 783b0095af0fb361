// The events of a job as they are on the wire, with their cursors.

import { Copy } from "../../ui/copy.js";
import { Dialog } from "../../ui/dialog.js";
import { html, useRef, useState } from "../../ui/html.js";
import { Rows } from "../../ui/rows.js";
import { clock } from "./format.js";

export function Events({ events, version }) {
  const [opened, setOpened] = useState(null);
  const [follows, setFollows] = useState(true);
  const end = useRef(null);
  return html`
    <div class="row bar">
      <p class="hint grow">The id of an event is a cursor: a reader that gives it goes on right after it, on any transport.</p>
      ${!follows && html`<button type="button" class="button small" onClick=${() => end.current()}>Follow</button>`}
    </div>
    <${Rows} count=${events.length} version=${version} label="Events" onFollow=${setFollows} toEnd=${end} onOpen=${(i) => setOpened(events[i])} render=${(i) => html`
      <time datetime=${events[i].timestamp}>${clock(events[i].timestamp)}</time><b class="wide">${events[i].type}</b><code class="cursor">${events[i].id}</code><span>${JSON.stringify(events[i].data).slice(0, 300)}</span>`} />
    ${opened && html`<${Dialog} title=${opened.type} class="roomy" onClose=${() => setOpened(null)}>
      <pre class="code">${JSON.stringify(opened, null, 2)}</pre>
      <div class="row end"><${Copy} text=${opened.id} label="Copy the cursor" word="Copy the cursor" /><${Copy} text=${JSON.stringify(opened)} label="Copy the event" word="Copy the event" /></div>
    <//>`}`;
}

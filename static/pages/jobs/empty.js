// What stands in the place of the list while it has nothing.

import { at } from "../../api.js";
import { key, may } from "../../session.js";
import { Copy } from "../../ui/copy.js";
import { html } from "../../ui/html.js";
import { Icon } from "../../ui/icon.js";
import { Empty } from "../../ui/notice.js";

const sample = '{"title":"First job","actions":[{"type":"wait","ms":2000},{"type":"wait","ms":2000},{"type":"wait","ms":2000}]}';

// line is what a shell submits a job with.
const line = (secret) => `curl ${at("/v1/jobs")} \\\n  -H 'Authorization: Bearer ${secret}' \\\n  -H 'Content-Type: application/json' \\\n  -d '${sample}'`;

// FirstRun shows how the first job comes here. The line that is copied has the key; the one that
// is shown does not, because pages are looked at over shoulders.
export function FirstRun() {
  if (!may("submit")) return html`<${Empty} icon="jobs" title="No jobs yet"><p>Jobs appear here by themselves once somebody submits one. This key may only watch.</p><//>`;
  return html`<${Empty} icon="jobs" title="No jobs yet">
    <p>Paste this into a terminal. The job appears here by itself, and you can watch it run.</p>
    <div class="paste">
      <pre tabindex="0" aria-label="A curl line that submits a job">${line("jc_…")}</pre>
      <${Copy} text=${() => line(key.value)} label="Copy the line, with your key in it" word="Copy" />
    </div>
    <p class="hint">The copied line has your key in it.</p>
    <p class="listening" role="status"><span class="dot" aria-hidden="true"></span>Waiting for the first job</p>
  <//>`;
}

export function Nothing({ onClear }) {
  return html`<${Empty} icon="search" title="No job is like that">
    <p>One that comes to be so appears here by itself.</p>
    <button type="button" class="button" onClick=${onClear}><${Icon} name="close" />Clear the filter</button>
  <//>`;
}

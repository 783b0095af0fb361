// All jobs of the client, the newest first.

import { at, call } from "../api.js";
import { Badge } from "../ui/badge.js";
import { Copy } from "../ui/copy.js";
import { html, useEffect, useState } from "../ui/html.js";
import { Empty, Failure, Page } from "../ui/notice.js";
import { Time } from "../ui/time.js";

const line = `curl ${at("/v1/jobs")} -H "Authorization: Bearer $KEY" --json '{"actions":[{"type":"wait","ms":1000}]}'`;

export default function Jobs() {
  const [list, setList] = useState({ jobs: null, next: null });
  const [error, setError] = useState(null);
  const load = async (after = "") => {
    setError(null);
    try {
      const page = await call(`/v1/jobs?limit=100${after && `&after=${after}`}`);
      setList((was) => ({ jobs: [...(after ? was.jobs : []), ...page.jobs], next: page.next }));
    } catch (problem) {
      setError(problem);
    }
  };
  useEffect(() => { load(); }, []);
  return html`<${Page} title="Jobs" beside=${html`<button type="button" class="button" onClick=${() => load()}>Reload</button>`}>
    ${error && html`<${Failure} error=${error} again=${() => load()} />`}
    ${list.jobs?.length === 0 && html`<${Empty} icon="jobs" title="No jobs yet"><p>They are listed here once one is submitted, as by this line:</p>
      <div class="row"><code class="card">${line}</code><${Copy} text=${line} label="Copy the line" word="Copy" /></div><//>`}
    ${list.jobs?.length > 0 && html`<ul class="card">${list.jobs.map((job) => html`<li key=${job.id} class="row">
      <${Badge} status=${job.status} /> <code class="grow">${job.title || job.id}</code> <${Time} at=${job.createdAt} />
    </li>`)}</ul>`}
    ${list.next && html`<p class="row"><button type="button" class="button" onClick=${() => load(list.next)}>Older jobs</button></p>`}
  <//>`;
}

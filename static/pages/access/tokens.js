// Tokens: narrower and shorter than keys. Nobody keeps a list of them.

import { call } from "../../api.js";
import { html, useState } from "../../ui/html.js";
import { Time } from "../../ui/time.js";
import { Choice, Field, Form, Once } from "./form.js";

const spans = [[600, "for 10 minutes"], [3_600, "for an hour"], [43_200, "for 12 hours"], [86_400, "for a day"]];

export function Tokens() {
  const [making, setMaking] = useState(false);
  return html`
    <div class="access-bar">
      <p class="access-intro">A token lets a page watch one job, or all of them, and do nothing else. It ends by itself, at the latest with the key that it was made with: give it away
        where a key would be too much. Tokens are not listed; each carries its own end.</p>
      <button type="button" class="button primary" onClick=${() => setMaking(true)}>New token</button>
    </div>
    ${making && html`<${NewToken} onClose=${() => setMaking(false)} />`}`;
}

function NewToken({ onClose }) {
  const submit = async (values) => {
    const job = values.get("job").trim();
    const token = await call("/v1/tokens", { json: { jobId: job || undefined, ttl: Number(values.get("ttl")) } });
    return html`<${Once} text=${token.token} what="token" onClose=${onClose}>
      <p class="hint">It watches ${token.jobId ? html`the job <code>${token.jobId}</code>` : "all jobs of the client"} and ends <${Time} at=${token.expiresAt} />.</p>
    <//>`;
  };
  return html`<${Form} title="New token" action="Create" submit=${submit} onClose=${onClose}>
    <${Field} label="Job" name="job" placeholder="all jobs of the client" hint="The id of the only job that it shows." autofocus />
    <${Field} label="Good" name="ttl">${(a) => html`<${Choice} options=${spans} value="3600" ...${a} />`}<//>
  <//>`;
}

// How to watch this job from elsewhere: "copy as".

import { root } from "../../api.js";
import { Copy } from "../../ui/copy.js";
import { Dialog } from "../../ui/dialog.js";
import { html, useState } from "../../ui/html.js";
import { Tabs } from "../../ui/tabs.js";

const at = new URL(root);
const base = root.replace(/\/$/, "");

// snippets are texts by name, complete but for the key, which is never in them: it is in the environment, or
// its place is in the first lines.
export const snippets = (id) => ({
  curl: `curl -N ${base}/v1/jobs/${id}/events \\
  -H "Authorization: Bearer $JOBCAST_KEY" -H "Accept: text/event-stream"`,

  fetch: `const key = "jc_…"; // yours
const response = await fetch("${base}/v1/jobs/${id}/events", {
  headers: { Authorization: \`Bearer \${key}\`, Accept: "application/x-ndjson" },
});
let rest = "";
for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
  const lines = (rest + text).split("\\n");
  rest = lines.pop();
  for (const line of lines) {
    const { event, data } = JSON.parse(line);
    if (event === "job.event") console.log(data.type, data.data);
  }
}`,

  EventSource: `// An EventSource sends no headers: give it a token of minutes (POST /v1/tokens), not a key.
const token = "jct_…";
const source = new EventSource("${base}/v1/jobs/${id}/events?token=" + token);
source.onmessage = (m) => {
  const event = JSON.parse(m.data);
  console.log(event.type, event.data);
};
source.addEventListener("end", () => source.close());`,

  "socket.io-client": `import { io } from "socket.io-client";

const key = "jc_…"; // yours
const socket = io("${at.origin}/jobs", { auth: { token: key }, path: "${at.pathname}socket.io/" });
socket.on("connect", () => socket.emit("subscribe", { jobId: "${id}", from: "start" }));
socket.on("job.event", (event) => console.log(event.type, event.data));
socket.on("end", () => socket.disconnect());`,

  Go: `package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/jobcast/jobcast/client"
)

func main() {
	c, err := client.New(client.Options{URL: "${base}", Key: os.Getenv("JOBCAST_KEY")})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	for e, err := range c.Watch(context.Background(), "${id}", client.WatchOptions{}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(e.Type, e.Status)
	}
}`,
});

export function CopyAs({ id, onClose }) {
  const all = snippets(id);
  const [name, choose] = useState("curl");
  const panel = () => html`<pre class="code" tabindex="0" aria-label=${`Watch this job with ${name}`}>${all[name]}</pre>`;
  return html`<${Dialog} title="Watch this job with…" class="roomy" onClose=${onClose}>
    <${Tabs} label="With what" selected=${name} onSelect=${choose} tabs=${Object.keys(all).map((id) => ({ id, label: id, panel }))} />
    <div class="row end"><${Copy} text=${all[name]} label=${`Copy as ${name}`} word="Copy" /></div>
  <//>`;
}

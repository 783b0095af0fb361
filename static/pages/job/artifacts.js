// The files of a job, as they arrive. Pictures, PDF, text and JSON can be looked at here; what could
// carry scripts (HTML, SVG) and all else is only handed out as a file.

import { send } from "../../api.js";
import { Dialog } from "../../ui/dialog.js";
import { html, useEffect, useState } from "../../ui/html.js";
import { Empty, Failure } from "../../ui/notice.js";
import { toast } from "../../ui/toast.js";
import { size } from "./format.js";

const textLimit = 256 * 1024; // bytes of a text that are shown
const pictureLimit = 20 << 20; // beyond it a file is not shown unasked

const pathOf = (job, name) => `/v1/jobs/${job.id}/artifacts/${encodeURIComponent(name)}`;

// kind is how a type is shown: picture, pdf, json, text, or "" if it is not.
export function kind(contentType) {
  const type = contentType.split(";")[0].trim().toLowerCase();
  if (/^image\/(png|jpeg|gif|webp|avif|bmp)$/.test(type)) return "picture";
  if (type === "application/pdf") return "pdf";
  if (type === "application/json") return "json";
  if (["text/plain", "text/csv", "text/markdown", "application/x-ndjson"].includes(type)) return "text";
  return "";
}

export function Artifacts({ job, artifacts, live }) {
  const all = [...new Map([...(job.artifacts ?? []).map((a) => [a.name, a]), ...artifacts]).values()];
  if (!all.length) return html`<${Empty} icon="docs" title="No artifacts"><p>${live ? "Files appear here as soon as the job keeps them." : "This job has kept no files."}</p><//>`;
  return html`<ul class="artifacts">${all.map((a) => html`<${Artifact} key=${`${a.name} ${a.version ?? ""}`} job=${job} artifact=${a} />`)}</ul>`;
}

function Artifact({ job, artifact }) {
  const { name, contentType } = artifact;
  const how = kind(contentType);
  const [open, setOpen] = useState(how === "picture" && artifact.size < pictureLimit);
  const [busy, setBusy] = useState(false);
  const download = async () => {
    setBusy(true);
    try {
      const blob = await (await send(pathOf(job, name), { headers: { Accept: "*/*" } })).blob();
      const url = URL.createObjectURL(new Blob([blob], { type: "application/octet-stream" }));
      Object.assign(document.createElement("a"), { href: url, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
    } catch (error) {
      toast(error.message, "bad");
    } finally {
      setBusy(false);
    }
  };
  return html`<li class="card artifact">
    <div class="row">
      <p class="grow"><b class="name">${name}</b> <span class="hint">${size(artifact.size)}, ${contentType.split(";")[0]}</span></p>
      ${how && html`<button type="button" class="button small" aria-expanded=${open} onClick=${() => setOpen(!open)}>${open ? "Hide" : "Show"}<span class="hidden"> ${name}</span></button>`}
      <button type="button" class="button small" disabled=${busy} onClick=${download}>Download<span class="hidden"> ${name}</span></button>
    </div>
    ${open && html`<${Preview} path=${pathOf(job, name)} artifact=${artifact} how=${how} />`}
  </li>`;
}

function Preview({ path, artifact, how }) {
  const [got, setGot] = useState(null); // {url} or {text, cut}
  const [error, setError] = useState(null);
  useEffect(() => {
    const controller = new AbortController();
    let url = "";
    const read = async () => {
      if (how === "picture" || how === "pdf") {
        const response = await send(path, { headers: { Accept: "*/*" }, signal: controller.signal });
        // The type is ours, not the sender's: nothing that is shown here is ever a document with scripts.
        const type = how === "pdf" ? "application/pdf" : artifact.contentType.split(";")[0];
        url = URL.createObjectURL(new Blob([await response.arrayBuffer()], { type }));
        setGot({ url });
      } else setGot(await text(path, artifact, how, controller.signal));
    };
    read().catch((e) => controller.signal.aborted || setError(e));
    return () => { controller.abort(); URL.revokeObjectURL(url); };
  }, [path]);
  if (error) return html`<${Failure} error=${error} />`;
  if (!got) return html`<p class="hint" role="status">Loading…</p>`;
  if (how === "picture") return html`<${Picture} url=${got.url} name=${artifact.name} />`;
  if (how === "pdf") return html`<iframe class="pdf" src=${got.url} title=${artifact.name}></iframe>`;
  return html`<pre class="code" tabindex="0" aria-label=${artifact.name}>${got.text}</pre>
    ${got.cut && html`<p class="hint">This is the beginning, ${size(textLimit)}. The download has all of it.</p>`}`;
}

async function text(path, artifact, how, signal) {
  if (!artifact.size) return { text: "" };
  const cut = artifact.size > textLimit;
  const headers = { Accept: "*/*", ...(cut && { Range: `bytes=0-${textLimit - 1}` }) };
  const bytes = await (await send(path, { headers, signal })).arrayBuffer();
  const all = new TextDecoder().decode(bytes);
  if (how !== "json" || cut) return { text: all, cut };
  try {
    return { text: JSON.stringify(JSON.parse(all), null, 2) };
  } catch {
    return { text: all };
  }
}

function Picture({ url, name }) {
  const [large, setLarge] = useState(false);
  return html`
    <button type="button" class="picture" aria-label=${`Enlarge ${name}`} onClick=${() => setLarge(true)}><img src=${url} alt=${name} /></button>
    ${large && html`<${Dialog} title=${name} class="whole" onClose=${() => setLarge(false)}><img src=${url} alt=${name} /><//>`}`;
}

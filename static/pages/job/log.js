// The log of a job: it follows what comes, by level and by text.

import { Copy } from "../../ui/copy.js";
import { Dialog } from "../../ui/dialog.js";
import { html, useMemo, useRef, useState } from "../../ui/html.js";
import { Empty } from "../../ui/notice.js";
import { Rows } from "../../ui/rows.js";
import { clock } from "./format.js";

const levels = ["debug", "info", "warn", "error"];

export function Log({ logs, version, earlier, live }) {
  const [level, setLevel] = useState("debug");
  const [text, setText] = useState("");
  const [opened, setOpened] = useState(null);
  const [follows, setFollows] = useState(true);
  const end = useRef(null);
  const wanted = text.toLowerCase();
  const least = levels.indexOf(level);
  const shown = useMemo(
    () => (least || wanted ? logs.filter((l) => levels.indexOf(l.level) >= least && (!wanted || l.line.toLowerCase().includes(wanted))) : logs),
    [logs, version, least, wanted],
  );
  if (!logs.length && !earlier) {
    return html`<${Empty} icon="jobs" title="No log lines"><p>${live ? "They appear here as they are written: by a worker, or by pages of a job with" : "A worker may write them, and so do pages of a job with"}${" "}<code>console</code>.</p><//>`;
  }
  return html`
    <div class="row bar">
      <input class="grow" type="search" data-search aria-label="Search the log" placeholder="Search the log" value=${text} onInput=${(e) => setText(e.target.value)} />
      <label class="hidden" for="log-level">Level</label>
      <select id="log-level" value=${level} onChange=${(e) => setLevel(e.target.value)}>
        ${levels.map((l, i) => html`<option key=${l} value=${l}>${i ? `${l}${i < 3 ? " and worse" : ""}` : "all levels"}</option>`)}
      </select>
      <p class="hint" role="status">${shown.length === logs.length ? "" : `${shown.length.toLocaleString()} of ${logs.length.toLocaleString()} lines`}</p>
      ${!follows && html`<button type="button" class="button small" onClick=${() => end.current()}>Follow</button>`}
    </div>
    <${Rows} count=${shown.length} version=${version} label="Log lines" onFollow=${setFollows} toEnd=${end} onOpen=${(i) => setOpened(shown[i])} render=${(i) => html`<${Line} line=${shown[i]} text=${text} />`} />
    ${opened && html`<${Dialog} title=${`${opened.level}, ${clock(opened.at)}`} class="roomy" onClose=${() => setOpened(null)}>
      <pre class="code">${opened.line}</pre>
      <div class="row end"><${Copy} text=${opened.line} label="Copy the line" word="Copy" /></div>
    <//>`}`;
}

function Line({ line, text }) {
  return html`<time datetime=${line.at}>${clock(line.at)}</time><b class=${line.level}>${line.level}</b><span>${marked(line.line, text)}</span>`;
}

// marked shows where the text that is searched stands.
function marked(line, text) {
  const at = text ? line.toLowerCase().indexOf(text.toLowerCase()) : -1;
  if (at < 0) return line;
  return html`${line.slice(0, at)}<mark>${line.slice(at, at + text.length)}</mark>${line.slice(at + text.length)}`;
}

// All jobs of the client, the newest first, as they are now.

import { back, go, query, setQuery } from "../router.js";
import { key, may } from "../session.js";
import { Away } from "../ui/away.js";
import { useBegun } from "../ui/begun.js";
import { html, useEffect, useMemo, useRef, useState } from "../ui/html.js";
import { Icon } from "../ui/icon.js";
import { useKeys } from "../ui/keys.js";
import { Failure, Page } from "../ui/notice.js";
import { useNarrow, useWindow } from "../ui/window.js";
import { Bulk, Picks } from "./jobs/bulk.js";
import { FirstRun, Nothing } from "./jobs/empty.js";
import { asked, names, read } from "./jobs/filter.js";
import { JobList } from "./jobs/list.js";
import { name, Row } from "./jobs/row.js";
import { Filters, States } from "./jobs/toolbar.js";

const still = 3_000; // ms without a move of the pointer or a key in the list, after which rows may move

export default function Jobs() {
  const filter = read(query.value);
  const mark = JSON.stringify(filter);
  const picks = useMemo(() => new Picks(), [key.value]);
  const place = useRef({ touched: 0 });
  const calm = () => scrollY > 4 || picks.size > 0 || Date.now() - place.current.touched < still;
  const all = `${key.value} ${mark}`;
  const list = useBegun(all, () => (back && JobList.resumed(all, { calm })) || new JobList(asked(filter), { calm }));
  useEffect(() => {
    const frame = requestAnimationFrame(() => scrollTo(0, list.y)); // once its rows are laid out
    return () => { cancelAnimationFrame(frame); picks.clear(); };
  }, [list]);
  const pickable = may("submit");
  const failed = list.cut.value ?? list.error.value;
  return html`<${Page} title="Jobs" wide=${true} beside=${html`<${Away} />`}>
    <${States} filter=${filter} list=${list} />
    <${Filters} filter=${filter} />
    ${failed && html`<${Failure} error=${failed} again=${() => list.tryAgain()} />`}
    <${Table} list=${list} filter=${filter} picks=${picks} pickable=${pickable} place=${place} />
    ${pickable && html`<${Bulk} list=${list} picks=${picks} />`}
  <//>`;
}

function Table({ list, filter, picks, pickable, place }) {
  list.version.value; // drawn anew with it
  picks.version.value;
  const { rows } = list;
  const narrow = useNarrow();
  const height = narrow ? 72 : 44;
  const body = useRef(null);
  const [active, setActive] = useState("");
  const [first, last] = useWindow(body, rows.length, height);
  const filtered = names.some((n) => filter[n]);
  useEffect(() => { list.fill(first, last); });
  useEffect(() => { if (last >= rows.length - 20) list.older(); }, [last, rows.length, list.next]);

  const touch = () => { place.current.touched = Date.now(); };
  const at = () => rows.findIndex((row) => row.id === active);
  const move = (to, event) => {
    const row = rows[Math.max(0, Math.min(rows.length - 1, to))];
    if (!row) return;
    if (event.shiftKey && pickable) picks.range(rows, active || row.id, row.id);
    setActive(row.id);
    show(body.current, rows.indexOf(row), height);
  };
  const keys = {
    ArrowDown: (e) => move(at() + 1, e), j: (e) => move(at() + 1, e),
    ArrowUp: (e) => move(Math.max(0, at()) - 1, e), k: (e) => move(Math.max(0, at()) - 1, e),
    PageDown: (e) => move(at() + 10, e), PageUp: (e) => move(at() - 10, e),
    Home: (e) => move(0, e), End: (e) => move(rows.length - 1, e),
    Enter: () => active && go(`/jobs/${active}`),
    " ": () => pickable && at() >= 0 && picks.toggle(rows[at()]), x: () => pickable && at() >= 0 && picks.toggle(rows[at()]),
    Escape: () => picks.clear(),
  };
  const onKey = (event) => {
    if (event.altKey || (event.ctrlKey || event.metaKey) && event.key !== "a") return;
    touch();
    if (event.ctrlKey || event.metaKey) {
      if (!pickable) return;
      event.preventDefault();
      return picks.all(rows);
    }
    const does = keys[event.key] ?? keys[event.key.toLowerCase()];
    if (!does) return;
    event.preventDefault();
    event.stopPropagation();
    does(event);
  };
  const onSelect = (row, event) => {
    if (event.shiftKey && active) picks.range(rows, active, row.id);
    else picks.toggle(row);
    setActive(row.id);
    return picks.has(row.id);
  };
  const onClick = (event) => {
    const id = event.target.closest("[data-id]")?.dataset.id;
    if (!id || event.defaultPrevented || event.target.closest("a") || String(getSelection())) return;
    if (event.shiftKey && pickable && active) picks.range(rows, active, id);
    else go(`/jobs/${id}`);
    setActive(id);
  };
  const grid = useRef(null);
  useKeys("Jobs", [
    ["j k", "next and previous job"], ["Enter", "open the job"], ["x", "pick the job; with Shift and an arrow several"],
    ["Escape", "pick none"], ["n", "show new jobs", () => letIn(list)],
  ]);
  useEffect(() => { // j and k begin in the list, wherever the focus is
    const begin = (event) => {
      if (!["j", "k"].includes(event.key) || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, dialog, [role=grid]")) return;
      grid.current?.focus({ preventScroll: true });
      if (grid.current) onKeyRef.current(event);
    };
    addEventListener("keydown", begin);
    return () => removeEventListener("keydown", begin);
  }, []);
  const onKeyRef = useRef(onKey);
  onKeyRef.current = onKey;

  if (!rows.length) {
    if (list.loading.value || list.error.value) return html`<div class="jobs-body" aria-busy=${list.loading.value}></div>`;
    return filtered ? html`<${Nothing} onClear=${() => setQuery(Object.fromEntries(names.map((n) => [n, ""])))} />` : html`<${FirstRun} />`;
  }
  const here = at();
  const shown = rows.slice(first, last + 1);
  return html`<div class="jobs card" role="grid" aria-label="Jobs" aria-rowcount=${list.next ? -1 : rows.length + 1} aria-multiselectable=${pickable || undefined}
    tabindex="0" ref=${grid} onKeyDown=${onKey} onPointerMove=${touch} onClick=${onClick}
    aria-activedescendant=${here >= first && here <= last ? `job-${active}` : undefined}>
    <div role="rowgroup" class="jobs-head">
      <div role="row" aria-rowindex="1" class="job-row">
        ${pickable && html`<div role="columnheader" class="c-pick"><input type="checkbox" tabindex="-1" aria-label="Pick all that are loaded"
          checked=${picks.size > 0 && picks.size >= rows.length} onClick=${(e) => (e.target.checked ? picks.all(rows) : picks.clear())} /></div>`}
        <div role="columnheader" class="c-state">State</div><div role="columnheader" class="c-name">Job</div><div role="columnheader" class="c-news">What happens</div>
        <div role="columnheader" class="c-queue">Queue</div><div role="columnheader" class="c-took">Ran</div><div role="columnheader" class="c-when">Submitted</div>
      </div>
    </div>
    <${News} list=${list} />
    <div role="rowgroup" class="jobs-body" ref=${body} style=${{ height: `${rows.length * height}px` }}>
      ${shown.map((row, i) => html`<${Row} key=${row.id} row=${row} index=${first + i} top=${(first + i) * height} height=${height}
        active=${row.id === active} selected=${picks.has(row.id)} selectable=${pickable} onSelect=${onSelect} />`)}
    </div>
  </div>
  <p class="hint jobs-foot" role="status">${list.loading.value ? "Loading…" : list.next ? "" : `That is all: ${rows.length.toLocaleString()}.`}</p>`;
}

// News is the button that lets new rows in, where they would move what is being read.
function News({ list }) {
  const { n, more } = list.waiting;
  if (!n) return null;
  return html`<div class="jobs-new" role="row"><div role="gridcell"><button type="button" class="button small primary" onClick=${(e) => { e.stopPropagation(); letIn(list); }}>
    <${Icon} name="up" />${n.toLocaleString()}${more ? "+" : ""} new</button></div></div>`;
}

function letIn(list) {
  list.letIn();
  scrollTo({ top: 0 });
}

// show scrolls so that a row is in view.
function show(body, index, height) {
  const top = body.getBoundingClientRect().top + index * height;
  const above = document.querySelector(".jobs-head").getBoundingClientRect().bottom;
  if (top < above) scrollBy(0, top - above - height);
  else if (top + height > innerHeight - 64) scrollBy(0, top + 2 * height - innerHeight + 64);
}

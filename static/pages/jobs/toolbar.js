// Above the list: its states as tabs with their counts, and the filters.

import { at } from "../../api.js";
import { setQuery } from "../../router.js";
import { states, word } from "../../ui/badge.js";
import { html, useEffect, useRef, useState } from "../../ui/html.js";
import { Icon } from "../../ui/icon.js";
import { useCounts } from "./counts.js";
import { local, names, spans } from "./filter.js";

// States are links, because each has an address of its own.
export function States({ filter, list }) {
  const counts = useCounts(list);
  const here = useRef(null);
  useEffect(() => here.current?.scrollIntoView({ inline: "center", block: "nearest" }), [filter.state]);
  const to = (state) => {
    const query = new URLSearchParams(names.filter((n) => n !== "state" && filter[n]).map((n) => [n, filter[n]]));
    if (state) query.set("state", state);
    return at(`/jobs${query.size ? `?${query}` : ""}`);
  };
  return html`<nav class="jobs-states" aria-label="States"><ul>
    ${["", ...states].map((state) => html`<li key=${state}>
      <a href=${to(state)} class=${state} aria-current=${filter.state === state ? "true" : undefined} ref=${filter.state === state ? here : undefined}>
        ${state && html`<${Icon} name=${state} />`}${state ? word[state] : "All"}
        ${counts[state] !== undefined && html` <span class="count">${counts[state]}</span>`}
      </a>
    </li>`)}
  </ul></nav>`;
}

export function Filters({ filter }) {
  const search = useRef(null);
  const timer = useRef(0);
  const [open, setOpen] = useState(false);
  const [between, setBetween] = useState(false);
  useEffect(() => { // gone back or forward
    if (document.activeElement !== search.current) search.current.value = filter.q;
  }, [filter.q]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const type = (name, wait) => (event) => {
    const value = event.target.value.trim();
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setQuery({ [name]: value }, { replace: true }), wait);
  };
  const custom = between || filter.to || (filter.from && !spans[filter.from]);
  const when = (event) => {
    setBetween(event.target.value === "between");
    setQuery({ from: spans[event.target.value] ? event.target.value : "", to: "" });
  };
  const moment = (name) => (event) => setQuery({ [name]: event.target.value ? new Date(event.target.value).toISOString() : "" });
  const n = ["queue", "from", "to"].filter((name) => filter[name]).length;
  return html`<form class="filters" role="search" aria-label="Jobs" onSubmit=${(e) => { e.preventDefault(); clearTimeout(timer.current); setQuery({ q: search.current.value.trim() }); }}>
    <div class="search">
      <${Icon} name="search" />
      <input type="search" ref=${search} data-search aria-label="Search in ids, titles and errors" placeholder="Search ids, titles, errors" defaultValue=${filter.q}
        maxlength="200" autocomplete="off" spellcheck=${false} onInput=${type("q", 250)} />
      <kbd aria-hidden="true">/</kbd>
    </div>
    <button type="button" class="button more-filters" aria-expanded=${open} aria-controls="more-filters" onClick=${() => setOpen(!open)}><${Icon} name="filter" />Filters${n > 0 && html` <span class="count">${n}</span>`}</button>
    <div class=${`row ${open ? "open" : ""}`} id="more-filters">
      <input class="queue" aria-label="Queue" placeholder="Any queue" defaultValue=${filter.queue} key=${filter.queue} maxlength="64" autocomplete="off" autocapitalize="off" spellcheck=${false}
        onChange=${type("queue", 0)} />
      <select aria-label="Submitted" value=${custom ? "between" : filter.from} onChange=${when}>
        <option value="">Any time</option>
        ${Object.entries(spans).map(([span, words]) => html`<option key=${span} value=${span}>${words}</option>`)}
        <option value="between">Between…</option>
      </select>
      ${custom && html`<input type="datetime-local" aria-label="From" value=${local(filter.from)} onChange=${moment("from")} />
        <input type="datetime-local" aria-label="To" value=${local(filter.to)} onChange=${moment("to")} />`}
    </div>
  </form>`;
}

// Lists of the API that come in pages, and what their tables share.

import { call } from "../../api.js";
import { confirm } from "../../ui/dialog.js";
import { html, useEffect, useRef, useState } from "../../ui/html.js";
import { toast } from "../../ui/toast.js";

const page = 100; // how many are asked for at once
const most = 500; // how many the API gives at once

// usePages reads a list: path answers {[member]: […], next}. It is read again every `every` ms while the
// page is shown, as far as it was read before, unless it is still being read. Of several reads the newest counts.
export function usePages(path, member, { every = 0 } = {}) {
  const [list, setList] = useState({ items: [], next: null, error: null, loaded: false });
  const held = useRef({ wanted: page, read: null });
  const load = async () => {
    held.current.read?.abort();
    const read = (held.current.read = new AbortController());
    try {
      const items = [];
      let next = null;
      do {
        const limit = Math.min(most, held.current.wanted - items.length);
        const answer = await call(`${path}?limit=${limit}${next ? `&after=${encodeURIComponent(next)}` : ""}`, { signal: read.signal });
        items.push(...answer[member]);
        next = answer.next;
      } while (next && items.length < held.current.wanted);
      setList({ items, next, error: null, loaded: true });
    } catch (error) {
      if (!read.signal.aborted) setList((was) => ({ ...was, error }));
    }
    if (held.current.read === read) held.current.read = null;
  };
  const more = () => {
    held.current.wanted += page;
    load();
  };
  useEffect(() => {
    load();
    const timer = every && setInterval(() => { if (!document.hidden && !held.current.read) load(); }, every);
    return () => {
      clearInterval(timer);
      held.current.read?.abort();
    };
  }, [path]);
  return { ...list, load, more };
}

// More asks for what follows, if there is something.
export function More({ list }) {
  return list.next && html`<p class="access-more"><button type="button" class="button small" onClick=${list.more}>Show more</button></p>`;
}

// remove asks whether to, deletes what is at path, and says so.
export async function remove({ path, done, list, ...question }) {
  if (!await confirm({ danger: true, ...question })) return;
  try {
    await call(path, { method: "DELETE" });
    toast(done, "good");
  } catch (error) {
    toast(error.status === 404 ? "It was gone already." : error.message, error.status === 404 ? "" : "bad");
  }
  list.load();
}

// Table is a table whose rows become cards where there is no room. columns are [name, class].
export function Table({ label, columns, children }) {
  return html`<div class="card access-table"><table role="table" aria-label=${label}>
    <thead role="rowgroup"><tr role="row">${columns.map(([name, kind = ""]) => html`<th key=${name} role="columnheader" scope="col" class=${kind}>${name || html`<span class="hidden">What can be done</span>`}</th>`)}</tr></thead>
    <tbody role="rowgroup">${children}</tbody>
  </table></div>`;
}

// Cell is one of a row; name stands before it on cards.
export function Cell({ name = "", kind = "", children }) {
  return html`<td role="cell" class=${kind} data-name=${name || undefined}>${children}</td>`;
}

export const Nothing = () => html`<span class="faint" aria-label="none">–</span>`;

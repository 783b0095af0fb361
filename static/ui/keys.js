// The keyboard: what each key does on the page that is shown, and the list of them at `?`.

import { html, signal, useEffect } from "./html.js";
import { Dialog } from "./dialog.js";

const groups = signal([]); // [{title, keys: [[key, what, run]]}], of what is shown now
export const listing = signal(false);

// useKeys gives keys a meaning while a component is shown: [[key, what it does, run]]. A key is
// what KeyboardEvent.key calls it, or two with a blank between, pressed one after the other. A key
// without run is only listed: the component that has the focus knows it.
export function useKeys(title, keys) {
  useEffect(() => {
    const group = { title, keys };
    groups.value = [...groups.value, group];
    return () => { groups.value = groups.value.filter((g) => g !== group); };
  }, []);
}

const typing = (at) => at.closest?.("input:not([type=checkbox]), textarea, select, [contenteditable]");
let before = "";
let forget = 0;

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || typing(event.target) || document.querySelector("dialog[open]")) return;
  const sequence = before ? `${before} ${event.key}` : event.key;
  before = "";
  clearTimeout(forget);
  const all = groups.value.flatMap((g) => g.keys);
  const found = all.findLast(([key, , run]) => run && key === sequence);
  if (found) {
    event.preventDefault();
    found[2]();
  } else if (all.some(([key, , run]) => run && key.startsWith(`${event.key} `))) {
    before = event.key;
    forget = setTimeout(() => { before = ""; }, 1_000);
  }
});

// KeyList is the list of all keys: once, in the shell.
export function KeyList() {
  if (!listing.value) return null;
  return html`<${Dialog} title="Keyboard" class="keys" onClose=${() => { listing.value = false; }}>
    ${groups.value.map(({ title, keys }) => html`<section key=${title}>
      <h3>${title}</h3>
      <dl>${keys.map(([key, what]) => html`<div key=${key}><dt>${key.split(" ").map((k) => html`<kbd>${k}</kbd>`)}</dt><dd>${what}</dd></div>`)}</dl>
    </section>`)}
  <//>`;
}

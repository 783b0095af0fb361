// What happened in passing, told for some seconds at the lower edge and to screen readers.

import { html, signal } from "./html.js";
import { Icon } from "./icon.js";

const shown = signal([]);
let last = 0;

// toast tells text; kind is "good", "bad" or "". One that tells what went wrong stays longer.
export function toast(text, kind = "") {
  const id = ++last;
  shown.value = [...shown.value.slice(-2), { id, text, kind }];
  setTimeout(() => drop(id), kind === "bad" ? 12_000 : 5_000);
}

const drop = (id) => { shown.value = shown.value.filter((t) => t.id !== id); };

export function Toasts() {
  return html`<div class="toasts" role="status">
    ${shown.value.map(({ id, text, kind }) => html`<div key=${id} class=${`toast ${kind}`}>
      <span>${text}</span>
      <button type="button" class="icon-button" aria-label="Dismiss" onClick=${() => drop(id)}><${Icon} name="close" /></button>
    </div>`)}
  </div>`;
}

// Tabs: arrow keys go from one to the next, and what is chosen is shown at once.

import { html, useId } from "./html.js";

// Tabs shows the panel of one of `tabs`, [{id, label, count, panel}]; panel is a function.
export function Tabs({ label, tabs, selected, onSelect }) {
  const base = useId();
  const at = Math.max(0, tabs.findIndex((t) => t.id === selected));
  const keys = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: tabs.length - 1 };
  const move = (event) => {
    if (!(event.key in keys) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const next = (keys[event.key] + tabs.length) % tabs.length;
    onSelect(tabs[next].id);
    event.currentTarget.children[next].focus();
  };
  return html`
    <div class="tabs" role="tablist" aria-label=${label} onKeyDown=${move}>
      ${tabs.map((t, i) => html`<button key=${t.id} type="button" role="tab" id=${`${base}-${t.id}`} aria-selected=${i === at} aria-controls=${`${base}-panel`}
        tabindex=${i === at ? 0 : -1} onClick=${() => onSelect(t.id)}>${t.label}${t.count ? html` <span class="count">${t.count.toLocaleString()}</span>` : null}</button>`)}
    </div>
    <div role="tabpanel" id=${`${base}-panel`} aria-labelledby=${`${base}-${tabs[at].id}`} class="tabpanel">${tabs[at].panel()}</div>`;
}

// A long list of rows of one height, of which only those in view are in the document.

import { html, useId, useLayoutEffect, useRef, useState } from "./html.js";

// Rows shows `count` rows, each render(i), which may show other things when `version` changes; onOpen(i) is called for one that is clicked, or that the arrow
// keys have gone to and Enter opens. While the reader is at its lower end, it follows what is added: onFollow
// tells whether it does, and toEnd is a ref that gets a function that goes there.
export function Rows({ count, version, height = 26, label, render, onOpen, onFollow = () => {}, toEnd }) {
  const box = useRef(null);
  const follows = useRef(true);
  const [view, setView] = useState({ top: 0, room: 480 });
  const [active, setActive] = useState(-1);
  const id = useId();
  const look = () => {
    const { scrollTop, clientHeight, scrollHeight } = box.current;
    const end = scrollTop + clientHeight >= scrollHeight - height;
    if (end !== follows.current) onFollow(follows.current = end);
    if (scrollTop !== view.top || clientHeight !== view.room) setView({ top: scrollTop, room: clientHeight });
  };
  const end = () => {
    follows.current = true;
    box.current.scrollTop = box.current.scrollHeight;
    onFollow(true);
    look();
  };
  if (toEnd) toEnd.current = end;
  useLayoutEffect(() => {
    if (follows.current) box.current.scrollTop = box.current.scrollHeight;
    look();
  }, [count, version]);
  const go = (i) => {
    const { scrollTop, clientHeight } = box.current;
    if (i * height < scrollTop) box.current.scrollTop = i * height;
    if ((i + 1) * height > scrollTop + clientHeight) box.current.scrollTop = (i + 1) * height - clientHeight;
    setActive(i);
  };
  const keys = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const last = Math.min(count - 1, Math.floor((view.top + view.room) / height) - 1);
    const at = Math.min(active, count - 1);
    const to = { ArrowUp: at < 0 ? last : Math.max(0, at - 1), ArrowDown: at < 0 ? last : Math.min(count - 1, at + 1), Home: 0, End: count - 1 }[event.key];
    if (to !== undefined && count) go(to);
    else if (event.key === "Enter" && at >= 0) onOpen(at);
    else return;
    event.preventDefault();
  };
  const from = Math.max(0, Math.floor(view.top / height) - 10);
  const to = Math.min(count, from + Math.ceil(view.room / height) + 20);
  const rows = [];
  for (let i = from; i < to; i++) {
    rows.push(html`<div key=${i} id=${`${id}-${i}`} role="option" aria-selected=${i === active} aria-setsize=${count} aria-posinset=${i + 1}
      class="line" style=${{ height: `${height}px` }} onClick=${() => onOpen(i)}>${render(i)}</div>`);
  }
  return html`<div class="rows" ref=${box} tabindex="0" role="listbox" aria-label=${label} aria-activedescendant=${active >= from && active < to ? `${id}-${active}` : undefined} onScroll=${look} onKeyDown=${keys}>
    <div role="presentation" style=${{ height: `${count * height}px`, paddingTop: `${from * height}px` }}>${rows}</div>
  </div>`;
}

// Times and spans, as people say them.

import { html, signal } from "./html.js";

// now is the time in ms, to the second, while the page is shown.
export const now = signal(Date.now());
setInterval(() => { if (!document.hidden) now.value = Date.now(); }, 1_000);
document.addEventListener("visibilitychange", () => { now.value = Date.now(); });

// ago says how long before `at` (ms) a time was, or how long after it will be.
export function ago(time, at) {
  const s = Math.round((at - time) / 1_000);
  if (Math.abs(s) < 2) return "now";
  return s > 0 ? `${short(s)} ago` : `in ${short(-s)}`;
}

function short(s) {
  if (s < 60) return `${s} s`;
  if (s < 3_600) return `${Math.floor(s / 60)} min`;
  if (s < 86_400) return `${Math.floor(s / 3_600)} h`;
  return `${Math.floor(s / 86_400)} d`;
}

// span says how long something took, in ms.
export function span(ms) {
  if (ms < 0) return "0 ms";
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  const s = ms / 1_000;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 60) return `${Math.floor(s)} s`;
  const pad = (n) => String(Math.floor(n)).padStart(2, "0");
  if (s < 3_600) return `${Math.floor(s / 60)}:${pad(s % 60)} min`;
  return `${Math.floor(s / 3_600)}:${pad((s % 3_600) / 60)} h`;
}

const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
export const full = (at) => whole.format(new Date(at));

// Time shows a time (RFC 3339) as how long ago it was; pointing at it tells the whole.
export function Time({ at }) {
  if (!at) return null;
  return html`<time datetime=${at} title=${full(at)}>${ago(Date.parse(at), now.value)}</time>`;
}

// Icons of 16 by 16, drawn with lines in the colour of the text around them. They are never
// all that says something: a word or a label stands beside each.

import { html } from "./html.js";

const shapes = {
  jobs: "M2.5 4h11M2.5 8h11M2.5 12h7",
  submit: "M8 13V3M4 7l4-4 4 4",
  queues: "M2.5 5.5 8 3l5.5 2.5L8 8zM2.5 8 8 10.5 13.5 8M2.5 10.5 8 13l5.5-2.5",
  connections: "M4.5 11.5a5 5 0 0 1 0-7M11.5 4.5a5 5 0 0 1 0 7M2.5 13.5a8 8 0 0 1 0-11M13.5 2.5a8 8 0 0 1 0 11M8 8h.01",
  keys: "M9.5 6.5a3 3 0 1 0-2.3 2.3L8 9.6v1.2h1.2V12h1.2v1.2H13v-2.4L9.2 7.4",
  overview: "M2.5 13.5h11M4.5 13.5V9M8 13.5v-9M11.5 13.5V7",
  ways: "M2.5 4h4c2 0 1 8 3 8h4M2.5 8h11M2.5 12h4c2 0 1-8 3-8h4",
  docs: "M4 2.5h5l3 3v8H4zM9 2.5v3h3M6 8.5h4M6 11h4",
  pending: "M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zM8 5v3l2 1.5",
  processing: "M13.5 8A5.5 5.5 0 1 1 8 2.5",
  completed: "M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zM5.5 8.2l1.8 1.8 3.2-3.8",
  failed: "M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zM6 6l4 4M10 6l-4 4",
  cancelled: "M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zM4.2 4.2l7.6 7.6",
  search: "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM10.3 10.3l3.2 3.2",
  close: "M4 4l8 8M12 4l-8 8",
  check: "M3.5 8.5l3 3 6-7",
  copy: "M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8z",
  menu: "M2.5 4.5h11M2.5 8h11M2.5 11.5h11",
  more: "M3.5 8h.01M8 8h.01M12.5 8h.01",
  up: "M8 12.5v-9M4 7.5l4-4 4 4",
  down: "M4 6.5l4 4 4-4",
  retry: "M13 8a5 5 0 1 1-1.6-3.7M13 2.5v3h-3",
  filter: "M2.5 3.5h11l-4.2 5v4l-2.6 1v-5z",
  sun: "M8 5.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6zM8 1.5v1.2M8 13.3v1.2M1.5 8h1.2M13.3 8h1.2M3.4 3.4l.9.9M11.7 11.7l.9.9M3.4 12.6l.9-.9M11.7 4.3l.9-.9",
  moon: "M13 9.6A5.5 5.5 0 0 1 6.4 3a5.5 5.5 0 1 0 6.6 6.6z",
  screen: "M2.5 3h11v7.5h-11zM6 13.5h4M8 10.5v3",
  leave: "M6.5 2.5h-4v11h4M6 8h7.5M10.5 5l3 3-3 3",
  keyboard: "M1.5 4h13v8h-13zM4 6.5h.01M6.5 6.5h.01M9 6.5h.01M11.5 6.5h.01M5 9.5h6",
  warn: "M8 2.5l6 11H2zM8 6.5v3M8 11.5h.01",
  play: "M5 3l7.5 5L5 13z",
};

export function Icon({ name, class: more = "" }) {
  return html`<svg class=${`icon ${more}`} viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false">
    <path d=${shapes[name]} /></svg>`;
}

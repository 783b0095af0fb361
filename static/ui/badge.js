// A job's state: an icon, a word and a colour.

import { html } from "./html.js";
import { Icon } from "./icon.js";

export const states = ["pending", "processing", "completed", "failed", "cancelled"];

// word is what people call a state.
export const word = { pending: "Pending", processing: "Running", completed: "Completed", failed: "Failed", cancelled: "Cancelled" };

export function Badge({ status }) {
  return html`<span class=${`badge ${status}`}><${Icon} name=${status} />${word[status] ?? status}</span>`;
}

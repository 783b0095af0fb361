// What a page says in place of what it would show, or above it.

import { html } from "./html.js";
import { Icon } from "./icon.js";

export function Notice({ kind = "", children, role }) {
  return html`<div class=${`notice ${kind}`} role=${role}>${children}</div>`;
}

// Failure tells an error calmly; again, if given, is what to do once more.
export function Failure({ error, again }) {
  return html`<div class="notice bad" role="alert">
    <${Icon} name="warn" />
    <p>${error.message}</p>
    ${again && html`<button type="button" class="button small" onClick=${again}>Try again</button>`}
  </div>`;
}

// Empty stands where there is nothing yet, and says what would bring something.
export function Empty({ icon, title, children }) {
  return html`<div class="empty">
    ${icon && html`<${Icon} name=${icon} />`}
    <h2>${title}</h2>
    ${children}
  </div>`;
}

// Page is around what every page shows: its heading, what stands beside that, and the title of the document.
export function Page({ title, beside, children, wide = false }) {
  document.title = `${title} · jobcast`;
  return html`<div class=${`page ${wide ? "wide" : ""}`}>
    <header class="page-head"><h1 tabindex="-1">${title}</h1>${beside}</header>
    ${children}
  </div>`;
}

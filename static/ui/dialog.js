// Dialogs are the browser's own: focus stays inside, Escape closes, the rest is inert.

import { html, signal, useEffect, useId, useRef } from "./html.js";
import { Icon } from "./icon.js";

export function Dialog({ title, onClose, children, class: more = "" }) {
  const ref = useRef(null);
  const id = useId();
  useEffect(() => {
    const dialog = ref.current;
    dialog.showModal();
    return () => dialog.close();
  }, []);
  const beside = (event) => { if (event.target === ref.current) ref.current.close(); }; // a click on the backdrop
  return html`<dialog ref=${ref} class=${`dialog ${more}`} aria-labelledby=${id} onClose=${onClose} onClick=${beside}>
    <div class="dialog-body">
      <header class="dialog-head">
        <h2 id=${id}>${title}</h2>
        <button type="button" class="icon-button" aria-label="Close" onClick=${() => ref.current.close()}><${Icon} name="close" /></button>
      </header>
      ${children}
    </div>
  </dialog>`;
}

const asked = signal(null);

// confirm asks whether to go on, and resolves to the answer.
export function confirm({ title, text, action = "OK", danger = false }) {
  return new Promise((answer) => { asked.value = { title, text, action, danger, answer }; });
}

// Confirm is where the questions of confirm() are shown: once, in the shell.
export function Confirm() {
  const question = asked.value;
  if (!question) return null;
  const end = (yes) => {
    if (asked.value !== question) return;
    asked.value = null;
    question.answer(yes);
  };
  return html`<${Dialog} title=${question.title} onClose=${() => end(false)}>
    <p>${question.text}</p>
    <div class="row end">
      <button type="button" class="button" onClick=${() => end(false)}>Back</button>
      <button type="button" class=${`button ${question.danger ? "danger" : "primary"}`} autofocus onClick=${() => end(true)}>${question.action}</button>
    </div>
  <//>`;
}

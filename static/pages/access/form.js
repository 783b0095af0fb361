// Forms in dialogs: fields, and what is made, which is shown once.

import { Copy } from "../../ui/copy.js";
import { Dialog } from "../../ui/dialog.js";
import { html, useEffect, useId, useRef, useState } from "../../ui/html.js";
import { Failure } from "../../ui/notice.js";

// Field is a labelled input; hint says more. children take the place of the input: a function of its attributes.
export function Field({ label, hint, children, ...input }) {
  const id = useId();
  const attributes = { id, "aria-describedby": hint ? `${id}-hint` : undefined, ...input };
  return html`<div class="field">
    <label for=${id}>${label}</label>
    ${children ? children(attributes) : html`<input autocomplete="off" spellcheck="false" ...${attributes} />`}
    ${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
  </div>`;
}

export function Choice({ options, ...attributes }) {
  return html`<select ...${attributes}>${options.map(([value, text]) => html`<option key=${value} value=${value}>${text}</option>`)}</select>`;
}

// Form is a dialog with fields. submit gets their values and returns what is shown in place of the
// fields then, or nothing, which closes the dialog.
export function Form({ title, action, submit, onClose, children }) {
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const [made, setMade] = useState(null);
  const wrong = useRef(null);
  useEffect(() => { if (error) wrong.current.scrollIntoView({ block: "nearest" }); }, [error]);
  const send = async (event) => {
    event.preventDefault();
    if (busy) return;
    const values = new FormData(event.currentTarget);
    setBusy(true);
    try {
      const shown = await submit(values);
      if (shown) setMade(shown);
      else onClose();
    } catch (problem) {
      setError(problem);
    }
    setBusy(false);
  };
  return html`<${Dialog} title=${title} onClose=${onClose}>
    ${made ?? html`<form class="access-form" onSubmit=${send}>
      ${children}
      ${error && html`<${Failure} error=${error} />`}
      <div class="row end" ref=${wrong}>
        <button type="button" class="button" onClick=${onClose}>Back</button>
        <button type="submit" class="button primary" aria-busy=${busy}>${action}</button>
      </div>
    </form>`}
  <//>`;
}

// Once shows a credential that nobody can see again.
export function Once({ text, what, onClose, children }) {
  return html`<div class="access-once">
    <p>Copy the ${what} now. It is not shown again.</p>
    <p class="secret"><code>${text}</code></p>
    ${children}
    <div class="row end">
      <${Copy} text=${text} label=${`Copy the ${what}`} word="Copy" />
      <button type="button" class="button primary" onClick=${onClose}>Done</button>
    </div>
  </div>`;
}

// hosts reads a list of hosts, separated by commas or blanks; undefined: none is named.
export function hosts(text) {
  const all = text.split(/[\s,]+/).filter(Boolean);
  return all.length ? all : undefined;
}

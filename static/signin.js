// Signing in: with a key, which stays in this tab.

import { checking, signIn, trouble } from "./session.js";
import { html, useEffect, useRef, useState } from "./ui/html.js";
import { Failure } from "./ui/notice.js";

export function SignIn() {
  const input = useRef(null);
  const [shown, setShown] = useState(false);
  const error = trouble.value;
  useEffect(() => { document.title = "Sign in · jobcast"; input.current.focus(); }, []);
  useEffect(() => {
    if (!error) return;
    if (error.candidate) input.current.value = error.candidate;
    input.current.focus();
    input.current.select();
  }, [error]);
  const submit = (event) => {
    event.preventDefault();
    signIn(input.current.value);
  };
  return html`<main class="signin" id="main">
    <form class="card" onSubmit=${submit}>
      <p class="brand"><${Mark} />jobcast</p>
      <h1>Sign in</h1>
      <label for="key">Key</label>
      <div class="with-button">
        <input id="key" name="key" ref=${input} type=${shown ? "text" : "password"} placeholder="jc_…" autocomplete="off" autocapitalize="off" spellcheck=${false}
          required aria-describedby="key-hint" />
        <button type="button" class="button" aria-pressed=${shown} onClick=${() => setShown(!shown)}>Show</button>
      </div>
      <p class="hint" id="key-hint">It stays in this browser's tabs, and is gone when they are closed. The server printed a key at its first start;${" "}
        <code>jobcast keys create</code> makes another, and <code>jobcast open</code>, on its machine, signs in by itself.</p>
      ${error && html`<${Failure} error=${error} />`}
      <button type="submit" class="button primary wide" disabled=${checking.value}>${checking.value ? "Checking…" : "Sign in"}</button>
    </form>
  </main>`;
}

// Mark is what jobcast looks like, small.
export function Mark() {
  return html`<svg class="mark" viewBox="0 0 16 16" width="20" height="20" aria-hidden="true"><circle cx="4" cy="12" r="2.4" /><path d="M4 6a6 6 0 0 1 6 6M4 1.5A10.5 10.5 0 0 1 14.5 12" /></svg>`;
}

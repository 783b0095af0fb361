// A button that copies a text, and says so on itself.

import { html, useEffect, useRef, useState } from "./html.js";
import { Icon } from "./icon.js";

// Copy copies text, which may be a function. label says what that is, as in "Copy the id".
export function Copy({ text, label, word = "" }) {
  const [done, setDone] = useState("");
  const timer = useRef(0);
  useEffect(() => () => clearTimeout(timer.current), []);
  const copy = async () => {
    setDone(await put(typeof text === "function" ? text() : text) ? "Copied" : "Not copied");
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setDone(""), 1_500);
  };
  return html`<button type="button" class=${word ? "button small copy" : "icon-button copy"} aria-label=${word ? undefined : label} title=${label} onClick=${copy}>
    <${Icon} name=${done === "Copied" ? "check" : "copy"} />${word && html`<span>${done || word}</span>`}<span class="hidden" role="status">${done}</span>
  </button>`;
}

// put writes to the clipboard, also on pages that came over http, where browsers have no API for it.
async function put(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch { /* not a secure page, or not allowed */ }
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "hidden";
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}

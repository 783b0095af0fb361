// What will be submitted: an object, and the text that it is written as. Either may be changed, and the
// other follows. It is kept while the tab lives, so that a look at another page loses nothing.

import { signal } from "../../ui/html.js";

const pretty = (spec) => JSON.stringify(spec, null, 2);

// draft is {spec, text, broken}; broken says why the text is no JSON object, and spec is then the last one that was.
export const draft = signal({ spec: {}, text: "{}", broken: "" });

export function setSpec(spec) { draft.value = { spec, text: pretty(spec), broken: "" }; }

export function setText(text) {
  try {
    const spec = JSON.parse(text);
    if (spec === null || typeof spec !== "object" || Array.isArray(spec)) throw new Error("A job is an object: { … }.");
    draft.value = { spec, text, broken: "" };
  } catch (error) {
    draft.value = { ...draft.value, text, broken: error.message };
  }
}

// take reads what was pasted, dropped or opened: a job, or a recording of Chrome's, laid out anew.
export function take(text) {
  setText(text);
  if (!draft.value.broken) setSpec(draft.value.spec);
  return !draft.value.broken;
}

// listName is what the list of actions is called in a spec; recordings call it steps.
export const listName = (spec) => (Array.isArray(spec.steps) ? "steps" : "actions");

// from makes a spec of a job, to run it again.
export function from(job) {
  const { title, queue, payload, actions, metadata, console, state, maxAttempts, timeoutMs, priority } = job;
  const spec = { title, queue, payload, actions, metadata, console, state, maxAttempts, timeoutMs, priority };
  const usual = { maxAttempts: 3, timeoutMs: 300_000, priority: 0 };
  for (const name of Object.keys(spec)) {
    if (spec[name] === usual[name] || ((spec[name] ?? null) === null && !(name === "payload" && queue))) delete spec[name];
  }
  return spec;
}

const partsOf = (pointer) => pointer.split("/").slice(1).map((p) => p.replaceAll("~1", "/").replaceAll("~0", "~"));

// changed is the spec with another value at a pointer (RFC 6901); undefined: with none.
export function changed(spec, pointer, value) {
  const parts = partsOf(pointer);
  const copy = structuredClone(spec);
  let at = copy;
  for (const part of parts.slice(0, -1)) at = at[part] ??= {};
  if (value !== undefined) at[parts.at(-1)] = value;
  else delete at[parts.at(-1)];
  return copy;
}

// place finds the value at a pointer in a text of JSON: where it begins and ends, or what is nearest around it does.
export function place(text, pointer) {
  let at = 0;
  let best = { begin: 0, end: text.length, depth: -1 };
  const blank = () => { while (/\s/.test(text[at] ?? "")) at++; };
  const string = () => {
    const begin = at++;
    while (at < text.length && text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
    return JSON.parse(text.slice(begin, ++at));
  };
  const members = (close, path, depth) => {
    at++;
    for (let n = 0; at < text.length; n++) {
      blank();
      if (text[at] === ",") at++;
      blank();
      if (text[at] === close) break;
      let name = String(n);
      if (close === "}") {
        name = string();
        blank();
        at++; // the colon
      }
      value(path?.[0] === name ? path.slice(1) : null, depth + 1);
    }
    at++;
  };
  const value = (path, depth) => {
    blank();
    const begin = at;
    if (text[at] === '"') string();
    else if (text[at] === "{") members("}", path, depth);
    else if (text[at] === "[") members("]", path, depth);
    else while (at < text.length && !/[\s,\]}]/.test(text[at])) at++;
    if (path && depth > best.depth) best = { begin, end: at, depth };
  };
  try {
    value(partsOf(pointer), 0);
  } catch { /* no JSON: all of it is meant */ }
  return best;
}

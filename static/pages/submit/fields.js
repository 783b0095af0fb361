// One field of the form for each member of a schema. What has no control of its own is JSON.

import { html, useEffect, useId, useState } from "../../ui/html.js";
import { problems } from "./problems.js";

const escaped = (name) => name.replaceAll("~", "~0").replaceAll("/", "~1");

// typesOf are the types that a schema allows, without null; none: anything.
const typesOf = ({ type }) => [type ?? []].flat().filter((t) => t !== "null");

// control chooses how a value of a schema is entered: choice, check, number, text, or json.
function control(schema, value) {
  if (schema.enum) return "choice";
  const types = typesOf(schema);
  const is = (...all) => types.length > 0 && types.every((t) => all.includes(t));
  if (is("boolean")) return "check";
  if (is("integer", "number") && (value === undefined || typeof value === "number")) return "number";
  if (types.includes("string") && (value === undefined || typeof value === "string")) return "text";
  if (types.includes("integer") && (value === undefined || typeof value === "number")) return "number";
  return "json";
}

// Field is one member. set(pointer, value) changes it; undefined takes it away.
export function Field({ name, pointer, schema, value, required, set }) {
  const id = useId();
  const how = control(schema, value);
  const mine = problems.value.filter((p) => p.pointer === pointer || p.pointer.startsWith(`${pointer}/`));
  const hint = schema.description ?? "";
  const described = [hint && `${id}-hint`, mine.length && `${id}-bad`].filter(Boolean).join(" ") || undefined;
  const same = { id, "data-pointer": pointer, "aria-describedby": described, "aria-invalid": mine.length > 0 || undefined };
  const change = (next) => set(pointer, next);
  return html`<div class=${`field ${how}`}>
    <label for=${id}>${name}${required ? html`<span class="faint" aria-hidden="true"> *</span>` : null}</label>
    ${how === "choice" && html`<select ...${same} value=${value ?? ""} onChange=${(e) => change(e.target.value || undefined)}>
      <option value=""></option>${schema.enum.filter((v) => v !== null).map((v) => html`<option key=${v} value=${v}>${v}</option>`)}
    </select>`}
    ${how === "check" && html`<input type="checkbox" ...${same} checked=${value === true} onChange=${(e) => change(e.target.checked || undefined)} />`}
    ${how === "number" && html`<input type="number" step="any" ...${same} required=${required} value=${value ?? ""} onInput=${(e) => change(e.target.value === "" ? undefined : Number(e.target.value))} />`}
    ${how === "text" && html`<input type="text" autocomplete="off" spellcheck=${false} ...${same} value=${value ?? ""} onInput=${(e) => change(e.target.value || (required ? "" : undefined))} />`}
    ${how === "json" && html`<${Json} same=${same} value=${value} loose=${!typesOf(schema).length} change=${change} />`}
    ${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
    ${mine.length > 0 && html`<p class="field-bad" id=${`${id}-bad`}>${mine.map((p) => (p.pointer === pointer ? p.detail : `${p.pointer.slice(pointer.length)}: ${p.detail}`)).join("\n")}</p>`}
  </div>`;
}

// Json is a value as text. With loose, what is no JSON is a text.
function Json({ same, value, loose, change }) {
  const [text, setText] = useState(() => write(value));
  const [bad, setBad] = useState("");
  useEffect(() => { // somebody else has changed it
    if (JSON.stringify(read(text, loose)) !== JSON.stringify(value)) setText(write(value));
  }, [value]);
  const input = (event) => {
    const next = event.target.value;
    setText(next);
    const got = read(next, loose);
    setBad(got === undefined && next.trim() ? "This is not JSON yet." : "");
    if (got !== undefined || !next.trim()) change(got);
  };
  return html`<textarea rows=${Math.min(8, text.split("\n").length)} spellcheck=${false} autocapitalize="off" ...${same} value=${text} onInput=${input}></textarea>
    ${bad && html`<p class="hint">${bad}</p>`}`;
}

const write = (value) => (value === undefined ? "" : JSON.stringify(value, null, 1).replace(/\n\s*/g, (m) => (JSON.stringify(value).length > 60 ? m : " ")));

function read(text, loose) {
  if (!text.trim()) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return loose ? text : undefined;
  }
}

export const pointerTo = (pointer, name) => `${pointer}/${escaped(String(name))}`;

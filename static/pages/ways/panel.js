// A panel shows one follower of a job: its connection, its progress, its events, and what went over the wire.

import { html, signal, useLayoutEffect, useRef, useState } from "../../ui/html.js";
import { clock } from "../job/format.js";

// Beyond this many lines the oldest go, so that a tab left open stays small.
const most = 500;
const longest = 2_000; // characters of what is shown of one message

const blank = () => ({ state: "idle", cursor: "", percent: 0, message: "", notice: null, countdown: "", outcome: "", events: [], wire: [], version: 0 });

export class Panel {
  #view = signal(blank());

  constructor(id, title, about) { Object.assign(this, { id, title, about }); }

  // onevent is called with each event, after it was shown.
  onevent = () => {};

  get view() { return this.#view.value; }

  // cursor is the id to resume from; empty before the first event.
  get cursor() { return this.#view.peek().cursor; }

  clear() { this.#view.value = blank(); }

  // state is one of idle, connecting, live, reconnecting, ended, stopped.
  state(state) { this.#set({ state }); }

  // notice shows a text, or nothing for "". kind is "", "warn" or "bad".
  notice(text, kind = "") { this.#set({ notice: text ? { text, kind } : null, countdown: "" }); }

  // countdown shows a text that changes each second beside the notice; screen readers are not told of it.
  countdown(countdown) { this.#set({ countdown }); }

  at(cursor) { this.#set({ cursor }); }

  // wire shows what went out (">") or came in ("<"), to the letter.
  wire(way, text) {
    this.#add(this.#view.peek().wire, { way, text: text.length > longest ? `${text.slice(0, longest)}…` : text });
    this.#set({});
  }

  event(event) {
    const { data } = event;
    const view = { cursor: event.id };
    switch (event.type) {
      case "job.progress": Object.assign(view, { percent: data.progress, message: data.message || "" }); break;
      case "job.completed": Object.assign(view, { percent: 100, message: "Completed" }); break;
      case "job.failed": view.message = `${data.error}: ${data.errorMessage}`; break;
      case "job.cancelled": view.message = "Cancelled"; break;
      case "job.retrying": Object.assign(view, { percent: 0, message: `Attempt ${data.attempt} ended: ${data.errorMessage}` }); break;
    }
    if (["completed", "failed", "cancelled"].includes(event.status)) view.outcome = event.status;
    this.#add(this.#view.peek().events, event);
    this.#set(view);
    this.onevent(event);
  }

  #add(list, item) {
    list.push(item);
    if (list.length > most) list.shift();
  }

  #set(more) {
    const now = this.#view.peek();
    this.#view.value = { ...now, ...more, version: now.version + 1 };
  }
}

export function PanelView({ panel }) {
  const [shown, show] = useState("events");
  const { state, cursor, percent, message, notice, countdown, outcome, events, wire } = panel.view;
  const name = `${panel.id}-title`;
  return html`<article class="card panel" id=${panel.id} data-state=${state} data-outcome=${outcome || undefined} aria-labelledby=${name}>
    <div class="row"><h3 class="grow" id=${name}>${panel.title}</h3><p class="state" role="status">${state}</p></div>
    <p class="hint about">${panel.about}</p>
    <progress max="100" value=${percent} aria-label=${`Progress seen by ${panel.title}`}></progress>
    <p class="row"><b class="percent">${Math.round(percent)} %</b><span class="grow cut">${message}</span></p>
    ${notice && html`<p class=${`notice ${notice.kind}`}><span role="status">${notice.text}</span> <span aria-hidden="true">${countdown}</span></p>`}
    <p class="hint">Last event id: <code class="cursor">${cursor || "none yet"}</code></p>
    <fieldset class="segments"><legend class="hidden">What to show of ${panel.title}</legend>
      ${["events", "wire"].map((what) => html`<label key=${what}><input type="radio" name=${`${panel.id}-shown`} checked=${shown === what} onChange=${() => show(what)} /><span>${what === "wire" ? "The wire" : "Events"}</span></label>`)}
    </fieldset>
    ${shown === "wire" ? html`<${Wire} wire=${wire} version=${panel.view.version} title=${panel.title} />` : html`<${List} events=${events} version=${panel.view.version} title=${panel.title} />`}
  </article>`;
}

// useEnd keeps a list at its end, unless the reader has scrolled up.
function useEnd(version) {
  const ref = useRef(null);
  const stays = useRef(true);
  useLayoutEffect(() => {
    if (ref.current && stays.current) ref.current.scrollTop = ref.current.scrollHeight;
  }, [version]);
  const onScroll = () => { stays.current = ref.current.scrollTop + ref.current.clientHeight >= ref.current.scrollHeight - 8; };
  return { ref, onScroll };
}

function List({ events, version, title }) {
  const end = useEnd(version);
  if (!events.length) return html`<p class="hint empty-line">No event yet.</p>`;
  return html`<ol class="events" tabindex="0" aria-label=${`Events seen by ${title}`} ...${end}>${events.map((event) => html`<li>
    <time datetime=${event.timestamp}>${clock(event.timestamp)}</time><b>${event.type}</b><span>${summary(event)}</span></li>`)}</ol>`;
}

function Wire({ wire, version, title }) {
  const end = useEnd(version);
  if (!wire.length) return html`<p class="hint empty-line">Nothing was sent yet.</p>`;
  return html`<ol class="wire" tabindex="0" aria-label=${`What went over the wire of ${title}`} ...${end}>${wire.map(({ way, text }) => html`<li class=${way === ">" ? "out" : "in"}>
    <span class="hidden">${way === ">" ? "sent: " : "came: "}</span><span aria-hidden="true">${way === ">" ? "→" : "←"}</span><code>${text}</code></li>`)}</ol>`;
}

function summary({ type, data }) {
  switch (type) {
    case "job.started": return `attempt ${data.attempt}`;
    case "job.progress": return `${data.progress} % ${data.message || ""}`.trim();
    case "job.failed": case "job.retrying": return `${data.error}: ${data.errorMessage}`;
    case "job.log": return `${data.level}: ${data.line}`;
    case "job.artifact": return `${data.name}, ${data.size} bytes`;
    default: return "";
  }
}

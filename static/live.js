// What happens, as it happens: one client of /client.js for the key of this tab.

import { root } from "./api.js";
import { connect } from "./client.js";
import { key } from "./session.js";
import { computed, effect, signal } from "./ui/html.js";

// client is the JavaScript client with the credential of this tab; null: nobody is signed in.
export const client = computed(() => (key.value ? connect({ url: root, [key.value.startsWith("jct_") ? "token" : "key"]: key.value }) : null));

// link is how the connection stands: idle (nobody watches), connecting, live, or lost, with
// the transport, and since when it is lost.
export const link = signal({ state: "idle", transport: "", since: 0 });

let watching = 0;

// watch is client.watch, which also keeps `link` up to date. It returns the Watch.
export function watch(job, { onState, ...options } = {}) {
  watching++;
  if (link.value.state === "idle") link.value = { state: "connecting", transport: "", since: 0 };
  const begun = client.value.watch(job, { ...options, onState: (notice) => { note(notice); onState?.(notice); } });
  begun.done.catch(() => {}).finally(() => {
    if (--watching === 0) link.value = { state: "idle", transport: "", since: 0 };
  });
  return begun;
}

function note({ state, transport = "" }) {
  const now = link.value;
  if (state === "live" && (now.state !== "live" || now.transport !== transport)) link.value = { state, transport, since: 0 };
  if (state === "lost" && now.state !== "lost") link.value = { state, transport, since: Date.now() };
}

let before = null;
effect(() => { // with another key begins another client
  const now = client.value;
  before?.close();
  before = now;
});

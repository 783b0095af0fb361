// Who is signed in in this tab. The key stays in sessionStorage and is gone with the tab; a tab
// that is opened beside it, as by a link, gets it from there. It is sent as a header and stands in no address.

import { call, root, useCredential } from "./api.js";
import { confirm } from "./ui/dialog.js";
import { batch, computed, signal } from "./ui/html.js";
import { toast } from "./ui/toast.js";

const slot = "jobcast.key";

export const key = signal(""); // a key or token; empty: nobody is signed in
export const me = signal(null); // what GET /v1/me told of it
export const checking = signal(false); // a key is being looked at
export const trouble = signal(null); // why signing in did not work, an Error

// may tells what the credential allows. What it does not is not offered.
export const may = (scope) => me.value?.scopes.includes(scope) ?? false;

// narrow: a token of one job sees that job and nothing else.
export const narrow = computed(() => me.value?.jobId ?? "");

// signIn looks at a key and, if it is good, uses it.
export async function signIn(candidate) {
  const text = candidate.trim();
  if (!text) return;
  checking.value = true;
  trouble.value = null;
  useCredential(text);
  try {
    const who = await call("/v1/me");
    use(text);
    keep(text);
    batch(() => { me.value = who; key.value = text; });
  } catch (error) {
    if (key.value) {
      use(key.value); // whoever is signed in stays so
      return void toast(error.message, "bad");
    }
    if (!error.again) keep(""); // a server that is away does not make it a bad key
    useCredential("");
    trouble.value = Object.assign(error, { candidate: error.again ? text : "" });
  } finally {
    checking.value = false;
  }
}

function use(text) {
  useCredential(text, () => leave(new Error("The key is no longer good: it was revoked, or has expired.")));
}

// signOut forgets the key, in all tabs that have it.
export function signOut() {
  tabs?.postMessage({ leave: key.value });
  leave(null);
}

// refresh asks again what the credential may do, and how much of it is used.
export async function refresh() {
  if (key.value) me.value = await call("/v1/me");
}

function leave(why) {
  keep("");
  useCredential("");
  batch(() => { key.value = ""; me.value = null; trouble.value = why; });
}

function keep(text) {
  try {
    if (text) sessionStorage.setItem(slot, text);
    else sessionStorage.removeItem(slot);
  } catch { /* a browser that keeps nothing asks again after a reload */ }
}

function kept() {
  try {
    return sessionStorage.getItem(slot) ?? "";
  } catch {
    return "";
  }
}

// A link may bring a key (#key=…) or a sign-in code (#login=…), which is good once: what
// follows # is sent to no server. It is taken out of the address before anything else happens.
function fromAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  const [key, code] = [given.get("key"), given.get("login")];
  if (key || code) history.replaceState(history.state, "", location.pathname + location.search);
  return { key, code };
}

async function exchange(code) {
  checking.value = true;
  trouble.value = null;
  try {
    await signIn((await call("/v1/login", { json: { code }, anonymous: true })).key);
  } catch (error) {
    const why = error.again ? error : new Error("The sign-in link is no longer good: it works once, and for five minutes.");
    if (key.value) toast(why.message, "bad");
    else trouble.value = why;
  } finally {
    checking.value = false;
  }
}

// follow signs in as a link says. Every page of every site can lead to such a link, and what is
// typed here afterwards may then go to somebody else: whoever is signed in is asked first.
async function follow(link) {
  if (!link.code && (!link.key || link.key === key.value)) return;
  const question = {
    title: "Sign in by this link?", action: "Sign in",
    text: `You are signed in as ${me.value?.clientId}. The link says who you are from now on, which may be somebody else. Go on only if you have asked for it.`,
  };
  if (key.value && !await confirm(question)) return;
  if (link.code) await exchange(link.code);
  else await signIn(link.key);
}

// Tabs of this browser tell each other the key: nobody else hears them.
const tabs = globalThis.BroadcastChannel && new BroadcastChannel(`jobcast ${root}`);
const patience = 120; // ms that another tab has to answer
let heard = () => {};

tabs?.addEventListener("message", ({ data }) => {
  if (data.ask && key.value) tabs.postMessage({ key: key.value });
  if (data.key) heard(data.key);
  if (data.leave && data.leave === key.value) leave(null);
});

function fromTabs() {
  return new Promise((resolve) => {
    heard = resolve;
    setTimeout(resolve, tabs ? patience : 0, "");
    tabs?.postMessage({ ask: true });
  });
}

// begin signs in with what this tab has kept, or another has, and with what the address brings.
export async function begin() {
  const link = fromAddress();
  checking.value = true;
  const before = kept() || await fromTabs();
  if (before !== link.key) await signIn(before);
  await follow(link);
  checking.value = false;
}

addEventListener("hashchange", () => follow(fromAddress()));

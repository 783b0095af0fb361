// What is around every page: the way to the others, who is signed in, how the connection
// stands, light or dark.

import { at } from "./api.js";
import { link } from "./live.js";
import { go, navigation, path, route } from "./router.js";
import { checking, key, may, me, signOut } from "./session.js";
import { Mark, SignIn } from "./signin.js";
import { Confirm } from "./ui/dialog.js";
import { html, signal, useEffect, useRef, useState } from "./ui/html.js";
import { Icon } from "./ui/icon.js";
import { KeyList, listing, useKeys } from "./ui/keys.js";
import { Empty, Failure, Page } from "./ui/notice.js";
import { Toasts } from "./ui/toast.js";

// App shows the page, or asks who is there.
export function App() {
  const asked = useRef(false); // whoever is typing a key keeps the form
  if (key.value) {
    asked.current = false;
    return html`<${Shell} />`;
  }
  if (checking.value && !asked.current) return html`<${Waiting} />`;
  asked.current = true;
  return html`<${SignIn} />`;
}

function Waiting() {
  return html`<main class="signin" id="main"><p class="brand"><${Mark} />jobcast</p><p class="hint" role="status">Signing in…</p></main>`;
}

const open = signal(false); // the navigation, where there is no room for it

function Shell() {
  const main = useRef(null);
  const offered = navigation.filter((r) => !r.scope || may(r.scope));
  useKeys("Everywhere", [
    ["?", "this list", () => { listing.value = true; }],
    ["/", "search", () => document.querySelector("[data-search]")?.focus()],
    ...offered.filter((r) => r.key).map((r) => [`g ${r.key}`, r.title, () => go(r.path)]),
  ]);
  useEffect(() => { open.value = false; }, [path.value]);
  const skip = (event) => { event.preventDefault(); main.current.focus(); };
  return html`
    <a class="skip" href="#main" onClick=${skip}>Skip to the content</a>
    <div class="frame">
      <header class="side">
        <div class="side-head">
          <a class="brand" href=${at("/jobs")}><${Mark} />jobcast</a>
          <${Connection} />
          <button type="button" class="icon-button menu" aria-expanded=${open.value} aria-controls="side-more" aria-label="Menu" onClick=${() => { open.value = !open.value; }}>
            <${Icon} name=${open.value ? "close" : "menu"} />
          </button>
        </div>
        <div class=${`side-more ${open.value ? "open" : ""}`} id="side-more">
          <nav aria-label="Pages">
            <ul>${offered.map((r) => html`<li key=${r.path}>
              <a href=${at(r.path)} aria-current=${current(r) ? "page" : undefined}><${Icon} name=${r.icon} />${r.title}</a>
            </li>`)}<li><a href=${at("/docs")}><${Icon} name="docs" />API</a></li></ul>
          </nav>
          <${Account} />
        </div>
      </header>
      <main id="main" tabindex="-1" ref=${main}><${Current} /></main>
    </div>
    <${Toasts} /><${Confirm} /><${KeyList} />`;
}

const current = (r) => path.value === r.path || path.value.startsWith(`${r.path}/`);

// Current is the page for the address, once it is loaded.
function Current() {
  const now = route.value;
  const [loaded, setLoaded] = useState(null); // {route, page} or {route, error}
  const before = useRef(null);
  const wanted = now?.route;
  const load = () => {
    if (!wanted) return;
    wanted.load().then((module) => setLoaded({ route: wanted, page: module.default }), (error) => setLoaded({ route: wanted, error }));
  };
  useEffect(load, [wanted]);
  const shown = loaded?.route === wanted ? loaded : null;
  useEffect(() => { // whoever came from another page reads on at the top of this one
    if (!shown?.page) return;
    if (before.current && before.current !== path.value) document.querySelector("#main h1")?.focus({ preventScroll: true });
    before.current = path.value;
  }, [shown, path.value]);
  if (!now) return html`<${Page} title="Not found"><${Empty} icon="search" title="There is no such page"><p><a href=${at("/jobs")}>All jobs</a></p><//><//>`;
  if (wanted.scope && !may(wanted.scope)) {
    return html`<${Page} title=${wanted.title}><${Empty} icon="keys" title="This key may not see that"><p>It lacks the scope <code>${wanted.scope}</code>.</p><//><//>`;
  }
  if (shown?.error) {
    return html`<${Page} title=${wanted.title}><${Failure} error=${new Error("This page could not be loaded. The server may be away, or newer than what this tab has.")} again=${() => location.reload()} /><//>`;
  }
  if (!shown) return html`<div class="page" aria-busy="true"></div>`;
  return html`<${shown.page} key=${JSON.stringify(now.params)} params=${now.params} />`;
}

const words = { idle: "", connecting: "Connecting", live: "Live", lost: "Offline" };
const ways = { websocket: "over a WebSocket", sse: "over Server-Sent Events", poll: "over long-polls" };

// Connection says how the live connection stands. Screen readers hear of it when it is away
// for more than a moment, and when it is back after that.
function Connection() {
  const { state, transport, since } = link.value;
  const [told, setTold] = useState("");
  useEffect(() => {
    if (state === "live") return void setTold((was) => (was ? "The connection is back." : ""));
    if (state !== "lost") return undefined;
    const timer = setTimeout(() => setTold("The connection to the server is lost. It is being tried again."), 2_000);
    return () => clearTimeout(timer);
  }, [state, since]);
  return html`<p class=${`connection ${state}`} title=${state === "live" ? `Live ${ways[transport] ?? ""}` : undefined}>
    <span class="dot" aria-hidden="true"></span>${words[state]}<span class="hidden" role="status">${told}</span>
  </p>`;
}

const themes = [["system", "screen", "As the system"], ["light", "sun", "Light"], ["dark", "moon", "Dark"]];

function Theme() {
  const [theme, setTheme] = useState(document.documentElement.dataset.theme ?? "system");
  const choose = (next) => {
    setTheme(next);
    if (next === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    try {
      if (next === "system") localStorage.removeItem("jobcast.theme");
      else localStorage.setItem("jobcast.theme", next);
    } catch { /* it holds until the page is loaded again */ }
  };
  return html`<fieldset class="segments">
    <legend class="hidden">Theme</legend>
    ${themes.map(([name, icon, label]) => html`<label key=${name} title=${label}>
      <input type="radio" name="theme" value=${name} checked=${theme === name} onChange=${() => choose(name)} />
      <${Icon} name=${icon} /><span class="hidden">${label}</span>
    </label>`)}
  </fieldset>`;
}

function Account() {
  const who = me.value;
  return html`<div class="account">
    <div class="account-who">
      <p title=${`Client ${who.clientId}`}><span class="hidden">Client </span>${who.clientId}</p>
      <p class="hint">${who.name || (who.tokenId ? "a token" : "a key")}</p>
    </div>
    <div class="row">
      <${Theme} />
      <button type="button" class="icon-button" aria-label="Keyboard" title="Keyboard (?)" onClick=${() => { listing.value = true; }}><${Icon} name="keyboard" /></button>
      <button type="button" class="icon-button" aria-label="Sign out" title="Sign out" onClick=${signOut}><${Icon} name="leave" /></button>
    </div>
  </div>`;
}

// Which page an address shows. Pages are loaded when they are first gone to.
//
// A page is one line in `routes` and one file below pages/, which exports a component by
// default: it gets {params} of its path, and reads and writes the address by query and setQuery.
// The server must know its path too: static/static.go.

import { root } from "./api.js";
import { computed, signal } from "./ui/html.js";

// scope: what a key must be allowed to be offered the page. icon: it stands in the navigation.
export const routes = [
  { path: "/overview", title: "Overview", icon: "overview", scope: "watch", key: "o", load: () => import("./pages/overview.js") },
  { path: "/jobs", title: "Jobs", icon: "jobs", scope: "watch", load: () => import("./pages/jobs.js") },
  { path: "/jobs/:id", title: "Job", scope: "watch", load: () => import("./pages/job.js") },
  { path: "/queues", title: "Queues", icon: "queues", scope: "watch", key: "q", load: () => import("./pages/queues.js") },
  { path: "/submit", title: "Submit", icon: "submit", scope: "submit", key: "s", load: () => import("./pages/submit.js") },
  { path: "/connections", title: "Connections", icon: "connections", scope: "admin", load: () => import("./pages/connections.js") },
  { path: "/keys", title: "Keys", icon: "keys", scope: "watch", load: () => import("./pages/keys.js") },
  { path: "/ways", title: "Three ways", icon: "ways", scope: "submit", load: () => import("./pages/ways.js") },
];

export const navigation = routes.filter((r) => r.icon);

const url = signal(new URL(location.href));

// path is the place below root, as in "/jobs"; "/" is that of the jobs as well.
export const path = computed(() => {
  const rest = url.value.href.startsWith(root) ? url.value.pathname.slice(new URL(root).pathname.length - 1) : "/";
  return rest === "/" ? "/jobs" : rest;
});

export const query = computed(() => url.value.searchParams);

// route is the page for the path and what its path says: {route, params}, or null.
export const route = computed(() => match(path.value));

export function match(path) {
  for (const route of routes) {
    const want = route.path.split("/"), got = path.split("/");
    if (want.length !== got.length) continue;
    const params = {};
    if (want.every((part, i) => (part[0] === ":" && got[i] ? ((params[part.slice(1)] = decode(got[i])), true) : part === got[i]))) return { route, params };
  }
  return null;
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

// go shows another page; to is a path with its query, as in go("/jobs?state=failed").
export function go(to, { replace = false } = {}) {
  const next = new URL(to.replace(/^\//, ""), root);
  back = false;
  if (next.href !== location.href) history[replace ? "replaceState" : "pushState"](null, "", next);
  show();
  if (!replace) scrollTo(0, 0);
}

// setQuery changes members of the address's query; empty ones are left out. A change that the
// reader types letter by letter replaces the address, others can be gone back from.
export function setQuery(changes, { replace = false } = {}) {
  const next = new URL(location.href);
  for (const [name, value] of Object.entries(changes)) {
    if (value) next.searchParams.set(name, value);
    else next.searchParams.delete(name);
  }
  if (next.href === location.href) return;
  back = false;
  history[replace ? "replaceState" : "pushState"](null, "", next);
  show();
}

function show() {
  scrolled = scrollY;
  url.value = new URL(location.href);
}

// back tells that the reader came here by going back or forward, and may want to be where they were;
// scrolled is how far down they were on the page that they have left.
export let back = false;
export let scrolled = 0;
history.scrollRestoration = "manual"; // pages are not there yet when the browser would scroll

addEventListener("popstate", () => {
  const before = path.value;
  back = true;
  show();
  if (path.value !== before) scrollTo(0, 0);
});

// Links to pages of this dashboard are ordinary links; what is clicked plainly stays in the document.
addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  if (link.target || link.hasAttribute("download") || !link.href.startsWith(root) || link.hash) return;
  const rest = `/${link.href.slice(root.length)}`;
  if (rest !== "/" && !match(rest.split("?")[0])) return;
  event.preventDefault();
  go(rest);
});

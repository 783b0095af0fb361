// The dashboard: one page for the whole server, made of plain modules that nothing builds.
//
// How it is laid out, for whoever adds to it:
//
//   index.html     names what is loaded at once; static.go has the paths that it answers
//   style.css      tokens (custom properties, light and dark), then components, then pages
//   api.js         call(path, {json, method, signal}): the public REST API, a Refusal if it is refused
//   session.js     key, me (GET /v1/me), may("submit"); signIn, signOut
//   live.js        watch(job | "all", {onEvent, …}) on one connection, and `link`: how that stands
//   figures.js     Figures: GET /v1/stats as a stream
//   router.js      routes; path, query, route are signals; go(), setQuery()
//   shell.js       what is around each page: navigation, account, connection, theme
//   ui/            components that pages share; ui/html.js is where Preact comes from
//   pages/NAME.js  one page, loaded when it is gone to; a large one has a folder pages/NAME/
//   vendor/        Preact, signals, htm, uPlot: scripts/vendor-static brings them
//
// A page is a component, the default export of its module. It gets {params} of its path, has one
// <${Page} title=…> around it, keeps what can be shared as a link in the query, and ends what it began when
// it goes (useEffect). What me's scopes do not allow is not offered. States are told by an icon and
// a word (ui/badge.js), times by <${Time}>, what went wrong by <${Failure}>; what happened in passing by toast().
//
// The policy of the server allows no inline script and style and nothing from elsewhere; style
// properties that are set by script (style=${{width}}) are fine. Every file that is asked for by all pages
// stands in index.html as a modulepreload, so that nothing waits for a chain of imports.

import { begin } from "./session.js";
import { App } from "./shell.js";
import { html, render } from "./ui/html.js";

begin(); // takes a key out of the address before the router reads it
const place = document.getElementById("app");
place.replaceChildren();
render(html`<${App} />`, place);

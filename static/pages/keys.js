// What lets programs and pages in, and what jobs log in with elsewhere: keys, tokens, secrets
// and browser states.

import { query, setQuery } from "../router.js";
import { may, me } from "../session.js";
import { html } from "../ui/html.js";
import { Empty, Page } from "../ui/notice.js";
import { sheet } from "../ui/sheet.js";
import { Tabs } from "../ui/tabs.js";
import { Keys } from "./access/keys.js";
import { Secrets, States } from "./access/secrets.js";
import { Tokens } from "./access/tokens.js";

await sheet(new URL("access/style.css", import.meta.url));

const all = [
  { id: "keys", label: "Keys", scope: "admin", panel: () => html`<${Keys} />` },
  { id: "tokens", label: "Tokens", scope: "watch", panel: () => html`<${Tokens} />` },
  { id: "secrets", label: "Secrets", scope: "admin", panel: () => html`<${Secrets} />` },
  { id: "states", label: "Browser states", scope: "admin", panel: () => html`<${States} />` },
];

export default function Access() {
  const tabs = me.value.tokenId ? [] : all.filter((t) => may(t.scope));
  if (!tabs.length) return html`<${Page} title="Keys"><${Empty} icon="keys" title="Nothing to manage with a token"><p>A token only watches, and makes no other. Sign in with a key.</p><//><//>`;
  const selected = query.value.get("tab") ?? tabs[0].id;
  return html`<${Page} title="Keys" wide=${true}>
    <${Tabs} label="What is managed" tabs=${tabs} selected=${selected} onSelect=${(tab) => setQuery({ tab: tab === tabs[0].id ? "" : tab })} />
  <//>`;
}

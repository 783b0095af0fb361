// Since when a page is not live, if it is so for more than a moment.

import { link } from "../live.js";
import { html, useEffect, useState } from "./html.js";
import { Icon } from "./icon.js";

export function Away() {
  const { state, since } = link.value;
  const [shown, setShown] = useState(false);
  useEffect(() => {
    setShown(false);
    if (state !== "lost") return undefined;
    const timer = setTimeout(() => setShown(true), 2_000);
    return () => clearTimeout(timer);
  }, [state, since]);
  return shown && html`<p class="notice warn"><${Icon} name="warn" />Not live since ${new Date(since).toLocaleTimeString()}. The server is being tried again.</p>`;
}

// The server's figures, GET /v1/stats, as they change: one stream while a page shows them.

import { Refusal, send } from "./api.js";
import { signal } from "./ui/html.js";

const first = 1_000, most = 30_000; // ms between two tries to connect
const kept = 120; // rates that are remembered, one a second

export class Figures {
  now = signal(null); // the newest
  error = signal(null); // why there are none at the moment
  rates = []; // {at, deliveries, events} of each second, the oldest first; of a key that sees the server's figures

  begin() {
    this.seen = () => (document.hidden ? this.stop?.abort() : this.start());
    document.addEventListener("visibilitychange", this.seen);
    this.start();
  }

  end() {
    document.removeEventListener("visibilitychange", this.seen);
    this.stop?.abort();
  }

  start() {
    this.stop?.abort();
    this.stop = new AbortController();
    this.follow(this.stop.signal);
  }

  async follow(signal) {
    for (let wait = first; !signal.aborted; wait = Math.min(most, 2 * wait)) {
      let asked = 0; // ms that the server wants us to stay away
      try {
        const response = await send("/v1/stats", { headers: { Accept: "application/x-ndjson" }, signal });
        for await (const { event, data } of frames(response.body)) {
          if (event === "stats") {
            this.take(data);
            wait = first;
          } else if (event === "reconnect") asked = data.retryMs;
          else if (event === "problem") throw new Refusal(data.status, data);
        }
      } catch (error) {
        if (signal.aborted) return;
        this.error.value = error instanceof Refusal ? error : new Refusal(0);
        if (!this.error.value.again) return;
        asked = error.retryMs ?? 0;
      }
      await new Promise((done) => {
        const timer = setTimeout(done, Math.max(wait, asked) * (0.75 + Math.random() / 2));
        signal.addEventListener("abort", () => { clearTimeout(timer); done(); }, { once: true });
      });
    }
  }

  take(figures) {
    const before = this.now.value;
    if (figures.server && before?.server && before.server.since === figures.server.since) {
      const seconds = (Date.parse(figures.at) - Date.parse(before.at)) / 1_000;
      const rate = (of) => Math.max(0, of(figures.server) - of(before.server)) / seconds;
      if (seconds > 0) this.rates = [...this.rates, { at: Date.parse(figures.at) / 1_000, deliveries: rate((s) => sum(s.deliveries)), events: rate((s) => s.commitBatch.events) }].slice(-kept);
    }
    this.error.value = null;
    this.now.value = figures;
  }
}

export const sum = (members) => Object.values(members).reduce((all, n) => all + n, 0);

// frames reads lines of JSON as they arrive.
async function* frames(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (let text = ""; ;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (text + value).split("\n");
      text = lines.pop();
      for (const line of lines) yield JSON.parse(line);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

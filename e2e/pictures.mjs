// Makes the two pictures of the README from real runs: `make pictures`. docs/terminal.svg is what a terminal shows, at the
// times at which it showed it, and docs/dashboard.png the dashboard's page of a job while that runs.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { chromium } from "playwright-core";
import { shop } from "./shop.mjs";

const root = new URL("..", import.meta.url).pathname;
const columns = 118, rows = 18;

// start starts a server with a new data folder.
async function start(...flags) {
  const data = await mkdtemp(path.join(tmpdir(), "jobcast-pictures-"));
  const child = spawn(`${root}bin/jobcast`, ["serve", `--data=${data}`, "--log-level=warn", ...flags]);
  return { data, child };
}

async function stop(child, data) {
  child.kill("SIGTERM");
  await once(child, "exit");
  await rm(data, { recursive: true });
}

// Terminal notes which text stood where from when on.
class Terminal {
  begun = performance.now();
  lines = [];
  add(text, { at = performance.now() - this.begun, kind = "out" } = {}) {
    for (const line of text.split("\n")) {
      for (let rest = line, first = true; first || rest; first = false, rest = rest.slice(columns)) {
        this.lines.push({ text: rest.slice(0, columns), at, kind });
      }
    }
  }
  pause(ms) { this.begun -= ms; }
}

// record runs what `make run` runs, and notes what it prints until its sample job has ended.
async function record() {
  const terminal = new Terminal();
  terminal.add("$ make run", { kind: "typed" });
  terminal.pause(800); // of the build, which takes longer
  const { data, child } = await start("--demo");
  let rest = "", ended = false;
  for await (const chunk of child.stdout.setEncoding("utf8")) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      terminal.add(line.replace(/jc_[a-z0-9_]+/g, "jc_…"));
      ended ||= line.includes("job.completed");
    }
    if (ended) break;
  }
  await stop(child, data);
  return terminal.lines;
}

const escaped = (text) => text.replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]);

// draw makes an SVG in which each line appears at its time, again and again. Who wants no motion sees the end.
function draw(lines) {
  const [charWidth, lineHeight, edge] = [7.83, 18, 16];
  const lasts = Math.max(...lines.map((l) => l.at)) + 6000;
  const percent = (at) => (100 * at / lasts).toFixed(2);
  const times = [...new Set(lines.map((l) => l.at))];
  const appear = times.map((at, i) => `@keyframes a${i}{0%{opacity:0}${percent(at)}%{opacity:1}}.a${i}{animation-name:a${i}}`);
  const scrolls = times.map((at) => {
    const shown = lines.filter((l) => l.at <= at).length;
    return `${percent(at)}%{transform:translateY(${-Math.max(0, shown - rows) * lineHeight}px)}`;
  });
  const up = -Math.max(0, lines.length - rows) * lineHeight;
  const texts = lines.map((l, i) =>
    `<text class="a${times.indexOf(l.at)} ${l.kind}" x="${edge}" y="${edge + 40 + i * lineHeight}">${escaped(l.text)}</text>`);
  const [width, height] = [Math.ceil(columns * charWidth + 2 * edge), rows * lineHeight + 2 * edge + 30];
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" role="img" aria-label="A terminal: make run starts the server, and the events of a sample job appear as they happen">
<style>text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:#d6dedb;white-space:pre}.typed{fill:#5ed3ae}
@media (prefers-reduced-motion:no-preference){text,.scroll{animation-duration:${lasts.toFixed(0)}ms;animation-iteration-count:infinite;animation-timing-function:step-end}.scroll{animation-name:scroll}}
.scroll{transform:translateY(${up}px)}@keyframes scroll{0%{transform:none}${scrolls.join("")}}
${appear.join("\n")}</style>
<rect width="100%" height="100%" rx="10" fill="#111514"/>
<circle cx="20" cy="20" r="5" fill="#3a4340"/><circle cx="38" cy="20" r="5" fill="#3a4340"/><circle cx="56" cy="20" r="5" fill="#3a4340"/>
<svg y="34" height="${height - 50}" width="${width}"><g transform="translate(0,-34)"><g class="scroll">
${texts.join("\n")}
</g></g></svg>
</svg>
`;
}

// photograph takes a picture of the dashboard while a recording runs in a browser.
async function photograph(site) {
  const recording = JSON.parse((await readFile(`${root}examples/recordings/order.json`, "utf8"))
    .replaceAll("http://localhost:8000", site));
  recording.steps[0].height = 420;
  const last = recording.steps.findLastIndex((step) => step.type === "click");
  recording.steps.splice(last, 0, { type: "wait", ms: 12_000 }); // the picture is taken meanwhile
  const { data, child } = await start("--addr=127.0.0.1:3000", "--allow-private-addresses");
  try {
    let printed = "";
    for await (const chunk of child.stdout) {
      if ((printed += chunk).includes("try: ")) break;
    }
    const [, url, key] = printed.match(/listening on (\S+)\nkey: (\S+)/);
    const response = await fetch(`${url}/v1/jobs`, {
      method: "POST", body: JSON.stringify(recording),
      headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
    });
    const job = await response.json();
    if (response.status !== 202) throw new Error(JSON.stringify(job));
    const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox"] });
    const page = await browser.newPage({ viewport: { width: 1280, height: 860 } });
    await page.goto(`${url}/jobs/${job.id}#key=${key}`);
    await page.waitForSelector("canvas");
    await page.waitForTimeout(3000); // pictures of the browser come a few times a second
    await page.screenshot({ path: `${root}docs/dashboard.png` });
    await browser.close();
  } finally {
    await stop(child, data);
  }
}

await writeFile(`${root}docs/terminal.svg`, draw(await record()));
let close;
await photograph(await shop({ after: (f) => { close = f; } }));
close();

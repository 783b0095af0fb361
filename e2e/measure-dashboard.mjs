// Measures the dashboard in Chromium while jobs come, run and end: first paint, frames, long
// tasks, and what it holds in memory after each tenth of the events. It prints and asserts nothing, because
// a slow machine is no fault. `make bench-dashboard` runs it; EVENTS and RATE (a second) may be set.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const total = Number(process.env.EVENTS || 100_000);
const rate = Number(process.env.RATE || 1_000);
const data = mkdtempSync(join(tmpdir(), "jobcast-dashboard-"));
const server = spawn(process.env.JOBCAST_BINARY || "../bin/jobcast", ["serve", "--addr=127.0.0.1:0", `--data=${data}`, "--max-jobs-per-client=200000"], { stdio: ["ignore", "pipe", "ignore"] });
const told = {};
for await (const line of createInterface(server.stdout)) {
  const [name, ...rest] = line.split(": ");
  told[line.startsWith("listening") ? "url" : name] = line.startsWith("listening") ? line.split(" on ")[1] : rest.join(": ");
  if (told.try) break;
}
const { url, key } = told;

async function post(path, body) {
  const response = await fetch(url + path, { method: "POST", headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" }, body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return response.json();
}

const job = (n) => ({ queue: "measured", title: `Measured job ${n}`, payload: n });
const median = (all) => all.sort((a, b) => a - b)[all.length >> 1];

// stream makes jobs that are submitted, begun and completed: three events each.
async function stream(events, onTenth) {
  const step = Math.max(1, Math.round(rate / 3 / 20)); // jobs every 50 ms
  const begun = Date.now();
  let made = 0, told = 0;
  for (let n = 0; made < events; n++) {
    await post("/v1/jobs/batch", { jobs: Array.from({ length: step }, (_, i) => job(n * step + i)) });
    const { jobs } = await post("/v1/workers/claim", { queues: ["measured"], max: Math.min(100, step) });
    if (jobs.length) await post("/v1/workers/complete", { jobs: jobs.map((j) => ({ jobId: j.id, leaseToken: j.lease.token })) });
    made += step * 3;
    if (made >= ((told + 1) * events) / 10) await onTenth(++told, made);
    const wait = begun + (n + 1) * 50 - Date.now();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
  }
  return made / ((Date.now() - begun) / 1_000);
}

try {
  for (let n = 0; n < 10; n++) { // the list has 10,000 jobs before anything is measured
    await post("/v1/jobs/batch", { jobs: Array.from({ length: 1_000 }, (_, i) => ({ ...job(i), queue: "earlier" })) });
  }
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--headless", "--no-sandbox", "--disable-gpu", "--enable-precise-memory-info", "--js-flags=--expose-gc"] });
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  const page = await context.newPage();
  await page.addInitScript(() => {
    globalThis.tasks = [];
    new PerformanceObserver((list) => tasks.push(...list.getEntries().map((e) => Math.round(e.duration)))).observe({ type: "longtask", buffered: true });
    globalThis.frames = 0;
    (function frame() { frames++; requestAnimationFrame(frame); })();
  });
  await page.goto(`${url}/#key=${key}`);
  await page.waitForSelector("[role=grid]");
  const paints = { first: [], again: [] }, lists = [];
  for (let n = 0; n < 9; n++) {
    await page.reload();
    await page.waitForSelector("[role=grid] [data-id]");
    paints.again.push(await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0].startTime));
    lists.push(await page.evaluate(() => performance.now()));
    const fresh = await browser.newContext();
    const other = await fresh.newPage();
    await other.goto(url);
    await other.waitForSelector("#key");
    paints.first.push(await other.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0].startTime));
    await fresh.close();
  }
  console.log(`first paint: ${Math.round(median(paints.first))} ms (nothing kept), ${Math.round(median(paints.again))} ms (reload); the list is there after ${Math.round(median(lists))} ms`);

  for (let n = 0; n < 200; n++) { // all 10,000 rows
    const before = await page.evaluate(() => document.querySelector(".jobs-body").offsetHeight);
    await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
    await page.waitForFunction((b) => document.querySelector(".jobs-foot").textContent.startsWith("That") || document.querySelector(".jobs-body").offsetHeight > b, before);
    if (await page.evaluate(() => document.querySelector(".jobs-foot").textContent.startsWith("That"))) break;
  }
  console.log(`rows: ${await page.textContent(".jobs-foot")}`);
  const during = async (what, run) => {
    await page.evaluate(() => { tasks.length = 0; frames = 0; globalThis.since = performance.now(); });
    const got = await run();
    const { tasks, fps } = await page.evaluate(() => ({ tasks: globalThis.tasks, fps: frames / ((performance.now() - since) / 1_000) }));
    console.log(`${what}: ${Math.round(got)} events a second, ${fps.toFixed(1)} frames a second, ${tasks.length} tasks over 50 ms ${tasks.length ? `(longest ${Math.max(...tasks)} ms)` : ""}`);
  };
  await during("10,000 rows, scrolled down", () => stream(rate * 10, () => {}));
  await page.evaluate(() => scrollTo(0, 0));
  const heap = [];
  await during("at the top", () => stream(total, async (tenth, made) => {
    const used = await page.evaluate(() => { gc(); return performance.memory.usedJSHeapSize; });
    heap.push(used);
    console.log(`  after ${made} events: ${(used / 1e6).toFixed(1)} MB, ${await page.evaluate(() => document.querySelectorAll("*").length)} elements`);
  }));
  console.log(`newest row: ${await page.textContent("[data-id] .c-name")}`);
  await browser.close();
} finally {
  server.kill();
  rmSync(data, { recursive: true, force: true });
}

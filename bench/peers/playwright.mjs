// Playwright on Chromium, as a peer of jobcast for jobs in a browser. README.md tells what it says and reads.
import { rm, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';

const { values } = parseArgs({
  options: {
    browser: { type: 'string' }, // path of Chromium
    site: { type: 'string' },
    jobs: { type: 'string', default: '100' },
    parallel: { type: 'string', default: '10' },
  },
});
const parallel = Number(values.parallel);
const commands = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const files = await mkdtemp(join(tmpdir(), 'bench-playwright-'));
const browser = await chromium.launch({ executablePath: values.browser });
process.on('SIGTERM', async () => {
  await browser.close();
  await rm(files, { recursive: true, force: true });
  process.exit(0);
});

/** Does the ten steps in a fresh context, which it returns open. */
async function steps(name) {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.setViewportSize({ width: 1280, height: 720 });
  await page.goto(values.site);
  await page.locator('#name').fill('Ada');
  await page.locator('#tea').selectOption('green');
  await page.locator('#agree').check();
  await page.locator('#go').click();
  await page.locator('.row').nth(2).waitFor();
  const rows = await page.locator('.row').allInnerTexts();
  await page.locator('#more').click();
  await page.screenshot({ path: join(files, `${name}.png`) });
  if (rows.join() !== 'Ada,green,agreed') throw new Error(`the page says ${rows}`);
  return context;
}

let made = 0;
async function job() {
  const name = `job-${++made}`;
  const context = await steps(name);
  await context.close();
  await rm(join(files, `${name}.png`));
}

/** Runs n jobs, parallel at a time, and returns how long each took. */
async function run(n) {
  const times = [];
  let begun = 0;
  await Promise.all(Array.from({ length: parallel }, async () => {
    while (begun++ < n) {
      const at = performance.now();
      await job();
      times.push(performance.now() - at);
    }
  }));
  return times;
}

const orders = {
  /** Runs all jobs. */
  async run() {
    const first = performance.now();
    const times = (await run(Number(values.jobs))).sort((a, b) => a - b);
    const quantile = (q) => times[Math.max(Math.ceil(q * times.length) - 1, 0)];
    return { ended: times.length, tookMs: performance.now() - first, p50Ms: quantile(0.5), p99Ms: quantile(0.99) };
  },
  /** Leaves contexts open in which all steps were done. */
  async hold() {
    held = await Promise.all(Array.from({ length: parallel }, (_, i) => steps(`held-${i}`)));
    return { held: held.length };
  },
  async release() {
    await Promise.all(held.map((context) => context.close()));
    return { held: 0 };
  },
};
let held = [];
await run(parallel); // warms everything up
console.log('ready');
for await (const order of commands) console.log(JSON.stringify(await orders[order]()));

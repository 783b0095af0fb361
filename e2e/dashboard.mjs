// What the tests of the dashboard share: a page that notes every fault, and a look at it that
// notes what people with other eyes, screens and keyboards would trip over.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { newPage, patience } from "./jobcast.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const screenshots = process.env.JOBCAST_SCREENSHOTS || new URL("screenshots/", import.meta.url).pathname; // git ignores it

// open goes to a path of the dashboard of a server, signed in if there is a key. Its `faults` are what a healthy
// page has none of: errors, violations of the policy, requests to elsewhere.
export async function open(t, server, { key, path = "/jobs", ...options } = {}) {
  const page = await newPage(t, options);
  const faults = [];
  page.on("console", (m) => { if (["error", "warning"].includes(m.type())) faults.push(m.text()); });
  page.on("pageerror", (e) => faults.push(e.stack));
  page.on("request", (r) => { if (/^(http|ws)/.test(r.url()) && !r.url().startsWith(`${server.url}/`)) faults.push(`asks ${r.url()}`); });
  await page.addInitScript(() => addEventListener("securitypolicyviolation", (e) => console.error(`CSP: ${e.violatedDirective} ${e.blockedURI}`)));
  await page.goto(`${server.url}${path}${key ? `#key=${key}` : ""}`);
  if (key) await page.waitForSelector("main h1");
  return { page, faults };
}

const looks = [1440, 360].flatMap((width) => ["light", "dark"].map((colorScheme) => ({ width, height: width > 400 ? 900 : 740, colorScheme })));

// look takes a picture of the page at both widths and in both themes, and asks axe-core about each.
export async function look(page, name) {
  mkdirSync(screenshots, { recursive: true });
  await page.evaluate(axe);
  for (const { width, height, colorScheme } of looks) {
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
    const where = `${name} at ${width}, ${colorScheme}`;
    const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
    const serious = found.violations.filter((v) => ["serious", "critical"].includes(v.impact))
      .map((v) => `${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => `${n.target} ${n.failureSummary}`).join("; ")}`);
    assert.deepEqual(serious, [], where);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${where}: nothing sticks out`);
    await page.screenshot({ path: `${screenshots}/${name}-${width}-${colorScheme}.png`, timeout: patience });
  }
  await page.setViewportSize({ width: 1440, height: 900 });
}

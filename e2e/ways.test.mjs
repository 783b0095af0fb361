// The dashboard's page that shows a job over three transports, in Chromium.

import assert from "node:assert/strict";
import { test } from "node:test";
import { key, newPage, url } from "./jobcast.mjs";

const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: blob:; frame-src blob:; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

// open loads the page and collects everything that a healthy page has none of.
async function open(t, fragment = "", options = {}) {
  const page = await newPage(t, options);
  const faults = [], asked = [];
  page.on("request", (r) => asked.push(r.url()));
  page.on("websocket", (s) => asked.push(s.url()));
  page.on("console", (m) => { if (["error", "warning"].includes(m.type())) faults.push(m.text()); });
  page.on("pageerror", (e) => faults.push(e.message));
  await page.addInitScript(() => addEventListener("securitypolicyviolation", (e) => console.error(`CSP: ${e.violatedDirective}`)));
  const response = await page.goto(`${url}/ways${fragment}`);
  assert.equal(response.headers()["content-security-policy"], policy);
  return { page, faults, asked };
}

async function allAre(page, state) {
  for (const id of ["ws", "sse", "poll"]) await page.waitForSelector(`#${id}[data-state=${state}]`);
}

const lines = (page, id) => page.locator(`#${id} .events b`).allTextContents();

test("sign in, submit, all panels reach 100 % and end, and show the wire; no key stands in an address", async (t) => {
  const { page, faults, asked } = await open(t);
  await page.fill("#key", key);
  await page.keyboard.press("Enter");
  await page.waitForSelector("#submit:enabled");
  await page.fill("#spec", JSON.stringify({ actions: Array(4).fill({ type: "wait", ms: 250 }) }));
  await page.click("#submit");
  await allAre(page, "ended"); // a job this short may end before anybody has looked at "live"

  for (const id of ["ws", "sse", "poll"]) {
    assert.equal(await page.textContent(`#${id} .percent`), "100 %");
    assert.equal(await page.locator(`#${id} progress`).evaluate((p) => p.value), 100);
    const seen = await lines(page, id);
    assert.equal(seen[0], "job.created");
    assert.equal(seen.at(-1), "job.completed");
  }
  for (const id of ["ws", "poll"]) {
    assert.equal(await page.textContent("#sse .cursor"), await page.textContent(`#${id} .cursor`), "one cursor on all transports");
  }
  assert.equal(await page.textContent("#job-status"), "completed");
  assert.ok(await page.isDisabled("#cancel"));
  for (const [id, sent, came] of [
    ["ws", '{"event":"subscribe"', '{"event":"subscribed"'], ["sse", "GET /v1/jobs/", "event: subscribed\nid: "], ["poll", "GET /v1/jobs/", '{"events":['],
  ]) {
    await page.locator(`#${id}`).getByRole("radio", { name: "The wire" }).check();
    const wire = await page.locator(`#${id} .wire code`).allTextContents();
    assert.ok(wire.some((text) => text.startsWith(sent)) && wire.some((text) => text.startsWith(came)), `${id}: ${wire.join("\n")}`);
  }
  assert.ok(!(await page.content()).includes(key) && !asked.some((address) => address.includes(key)));
  assert.deepEqual(faults, []);
});

test("cancel, then retry makes a new job; on a phone, in the dark", async (t) => {
  const { page, faults } = await open(t, `#key=${key}`, { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true, colorScheme: "dark" });
  await page.waitForSelector("#submit:enabled");
  await page.fill("#spec", JSON.stringify({ actions: [{ type: "wait", ms: 60_000 }] }));
  await page.tap("#submit");
  await allAre(page, "live");
  const first = await page.textContent("#job-id");
  await page.tap("#cancel");
  await allAre(page, "ended");
  for (const id of ["ws", "sse", "poll"]) assert.equal((await lines(page, id)).at(-1), "job.cancelled");
  await page.tap("#retry");
  await page.waitForFunction((id) => document.getElementById("job-retry-of")?.textContent === id, first);
  await allAre(page, "live");
  await page.tap("#cancel");
  await allAre(page, "ended");
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "nothing sticks out");
  assert.deepEqual(faults, []);
});

test("a worker job waits, this tab works on it, and all panels see it", async (t) => {
  const { page, faults } = await open(t, `#key=${key}`, { viewport: { width: 360, height: 740 } });
  await page.waitForSelector("#submit:enabled");
  assert.equal(await page.locator("#worker").count(), 0);
  await page.click("#sample-worker");
  assert.deepEqual(JSON.parse(await page.inputValue("#spec")), { queue: "sample", payload: { letter: "How are you?" } });
  await page.click("#submit");
  await allAre(page, "live");
  assert.equal(await page.textContent("#job-status"), "pending");
  assert.equal(await page.textContent("#job-queue-name"), "sample");
  assert.ok((await page.textContent("#worker-line")).startsWith(`jobcast work --url ${url} --queue sample -- `));
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "nothing sticks out");

  await page.click("#work");
  await page.waitForSelector("#work:disabled");
  await allAre(page, "ended");
  const job = await (await fetch(`${url}/v1/jobs/${await page.textContent("#job-id")}`, { headers: { Authorization: `Bearer ${key}` } })).json();
  assert.deepEqual([job.status, job.attempt, job.result], ["completed", 1, { by: "a browser", steps: 4 }]);
  for (const id of ["ws", "sse", "poll"]) {
    assert.equal(await page.textContent(`#${id} .percent`), "100 %");
    // A panel may see less of a progress that it learns of together, but never what is not there.
    const seen = await lines(page, id);
    assert.deepEqual(seen.filter((type) => type !== "job.progress"), ["job.created", "job.started", "job.completed"]);
    assert.ok(seen.length > 3, `${id} saw progress`);
  }
  await page.waitForFunction((id) => document.getElementById("worker-note").textContent === `This tab has completed job ${id}.`, job.id);
  await page.waitForSelector("#work:enabled");
  await page.click("#sample-actions");
  assert.ok(JSON.parse(await page.inputValue("#spec")).actions.length > 0);
  assert.deepEqual(faults, []);
});

test("a worker job that is cancelled is let go by the tab that works on it", async (t) => {
  const { page } = await open(t, `#key=${key}`);
  await page.waitForSelector("#submit:enabled");
  await page.fill("#spec", JSON.stringify({ queue: "page-cancel", payload: null }));
  let cancelled; // called once the job is cancelled; until then it does not complete
  const cancelling = new Promise((resolve) => { cancelled = resolve; });
  await page.route("**/complete", async (route) => { await cancelling; await route.continue(); });
  await page.click("#submit");
  await page.click("#work");
  await page.waitForFunction(() => document.getElementById("job-status")?.textContent === "processing");
  await page.click("#cancel");
  await allAre(page, "ended");
  cancelled();
  await page.waitForFunction(() => document.getElementById("worker-note").textContent.endsWith("no longer this tab's: it is cancelled."));
  assert.equal(await page.textContent("#job-status"), "cancelled");
});

test("a refused submit says what is wrong where", async (t) => {
  const { page } = await open(t, `#key=${key}`);
  await page.waitForSelector("#submit:enabled");
  await page.fill("#spec", "{");
  await page.click("#submit");
  await page.waitForSelector("#job-note.bad");
  assert.match(await page.textContent("#job-note"), /not JSON/);
  await page.fill("#spec", JSON.stringify({ actions: [{ type: "wait", ms: -1 }] }));
  await page.click("#submit");
  await page.waitForFunction(() => document.getElementById("job-note").textContent.includes("/actions/0/ms"));
});

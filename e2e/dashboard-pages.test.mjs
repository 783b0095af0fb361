// Every page of the dashboard at both widths and in both themes: a picture of it in screenshots/, and no
// serious finding of axe-core. A new page is one line in `pages`.

import assert from "node:assert/strict";
import { test } from "node:test";
import { look, open } from "./dashboard.mjs";
import { waits } from "./jobcast.mjs";
import { Server } from "./socketio.mjs";

// Each goes to a path, in which {a title} stands for the id of the job, and is ready when `ready` is there; `before` does
// what a reader would do first.
const pages = [
  { name: "jobs", path: "/jobs", ready: ".job-row a" },
  { name: "jobs-picked", path: "/jobs", ready: ".job-row a", before: (page) => page.locator(".jobs-body .c-pick").first().click() },
  { name: "jobs-failed", path: "/jobs?state=failed&from=24h", ready: ".job-row .bad-text" },
  { name: "jobs-nothing", path: "/jobs?q=no+such+text", ready: ".empty" },
  { name: "job-failed", path: "/jobs/{Prices}", ready: ".why" },
  { name: "job-running", path: "/jobs/{Import of customers}", ready: ".step.processing" },
  { name: "job-events", path: "/jobs/{Prices}?tab=events", ready: ".rows .line" },
  { name: "job-copied", path: "/jobs/{Prices}", ready: ".why", before: (page) => page.keyboard.press("s") },
  {
    name: "submit-refused", path: "/submit", ready: ".action", before: async (page) => {
      await page.fill("#spec", JSON.stringify({ title: "By hand", maxAttempts: 99, actions: [{ type: "wait", ms: -1 }, { type: "http", url: "http://example.com/" }] }, null, 2));
      await page.keyboard.press("Control+Enter");
      await page.waitForSelector(".action.bad .field-bad");
    },
  },
  {
    name: "ways", path: "/ways", ready: "#submit", before: async (page) => {
      await page.fill("#spec", JSON.stringify(waits(2, 50)));
      await page.click("#submit");
      await page.waitForSelector("#ws[data-state=ended]");
      await page.getByRole("radio", { name: "The wire" }).first().check();
    },
  },
  { name: "keyboard", path: "/jobs", ready: ".job-row a", before: (page) => page.keyboard.press("?") },
];

test("each page looks well to axe-core, on a phone and on a desk, by day and by night", async (t) => {
  const server = await Server.start(t);
  const key = await server.key("demo", "--scope=submit", "--scope=watch", "--scope=work", "--scope=admin");

  const first = await open(t, server);
  await first.page.waitForSelector("#key");
  await look(first.page, "sign-in");
  await first.page.fill("#key", key);
  await first.page.keyboard.press("Enter");
  await first.page.waitForSelector(".paste");
  await look(first.page, "jobs-first-run");

  const made = {}; // ids by title
  await server.work(key).then((work) => work.report());
  for (const spec of [
    waits(1, 1), { ...waits(3, 60_000), title: "Import of customers" }, { queue: "mail", title: "Letter to a customer with a name that is longer than a line has room for", payload: 1 },
    { queue: "mail", runAt: new Date(Date.now() + 86_400_000).toISOString() }, { title: "Prices", maxAttempts: 1, actions: [{ type: "http", url: "http://10.0.0.1/prices", method: "GET" }] },
  ]) made[spec.title] = (await server.submit(key, spec)).id;
  const { page, faults } = first;
  await page.waitForSelector(".badge.failed");
  for (const { name, path, ready, before } of pages) {
    await page.goto(server.url + path.replace(/\{(.+)\}/, (_, title) => made[title]));
    await page.waitForSelector(ready);
    await before?.(page);
    await look(page, name);
  }
  assert.deepEqual(faults.filter((f) => !f.includes("status of 422")), []); // of the submit that is refused
});

// Every page of the dashboard at both widths and in both themes: a picture of it in screenshots/, and no
// serious finding of axe-core. A new page is one line in `pages`.

import assert from "node:assert/strict";
import { test } from "node:test";
import { look, open } from "./dashboard.mjs";
import { waits } from "./jobcast.mjs";
import { Server } from "./socketio.mjs";

// Each goes to a path and is ready when `ready` is there; `before` does what a reader would do first.
const pages = [
  { name: "jobs", path: "/jobs", ready: ".job-row a" },
  { name: "jobs-picked", path: "/jobs", ready: ".job-row a", before: (page) => page.locator(".jobs-body .c-pick").first().click() },
  { name: "jobs-failed", path: "/jobs?state=failed&from=24h", ready: ".job-row .bad-text" },
  { name: "jobs-nothing", path: "/jobs?q=no+such+text", ready: ".empty" },
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

  await server.work(key).then((work) => work.report());
  for (const spec of [
    waits(1, 1), { ...waits(3, 60_000), title: "Import of customers" }, { queue: "mail", title: "Letter to a customer with a name that is longer than a line has room for", payload: 1 },
    { queue: "mail", runAt: new Date(Date.now() + 86_400_000).toISOString() }, { title: "Prices", maxAttempts: 1, actions: [{ type: "http", url: "http://10.0.0.1/prices", method: "GET" }] },
  ]) await server.submit(key, spec);
  const { page, faults } = first;
  await page.waitForSelector(".badge.failed");
  for (const { name, path, ready, before } of pages) {
    await page.goto(server.url + path);
    await page.waitForSelector(ready);
    await before?.(page);
    await look(page, name);
  }
  assert.deepEqual(faults, []);
});

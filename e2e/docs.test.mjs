// The page that shows the two documents.

import assert from "node:assert/strict";
import { test } from "node:test";
import { look, open } from "./dashboard.mjs";
import { url } from "./jobcast.mjs";

test("the reference shows both documents, is searched, and looks well to axe-core", async (t) => {
  const { page, faults } = await open(t, { url }, { path: "/docs" });
  await page.waitForSelector("article");
  const api = await (await fetch(`${url}/openapi.json`)).json();
  const streams = await (await fetch(`${url}/asyncapi.json`)).json();
  const operations = Object.values(api.paths).flatMap((item) => Object.values(item).filter((op) => op.operationId));
  assert.equal(await page.locator("article[id^='op/']").count(), operations.length);
  assert.equal(await page.locator("article[id^='channel/']").count(), Object.keys(streams.channels).length);
  await look(page, "reference");

  await page.keyboard.press("/");
  await page.keyboard.type("lease token");
  await page.waitForSelector("text=/^\\d+ of \\d+ entries$/");
  assert.ok(await page.locator("[id='op/extendLease']").isVisible());
  assert.ok(await page.locator("[id='op/whoAmI']").isHidden());
  assert.equal(await page.locator("nav li:visible").count(), await page.locator("article:visible").count());

  await page.goto(`${url}/docs#op/watchJob`); // the same document: it is not loaded again
  await page.fill("#search", "");
  await page.locator("[id='op/watchJob'] summary").first().click();
  await page.locator("[id='op/watchJob'] a", { hasText: "EventPage" }).first().click();
  assert.ok(page.url().endsWith("#schema/EventPage"));
  assert.deepEqual(faults, []);
});

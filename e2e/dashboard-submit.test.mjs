// Submitting jobs in the dashboard, in Chromium: by form, by JSON, by a recording; and the way of a new user.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { open } from "./dashboard.mjs";
import { until } from "./jobcast.mjs";
import { shop } from "./shop.mjs";
import { Server } from "./socketio.mjs";

test("form and JSON keep in step; what is wrong is told at its field; the job's page opens", async (t) => {
  const server = await Server.start(t);
  const key = await server.key("pages");
  const { page, faults } = await open(t, server, { key, path: "/submit" });
  const spec = async () => JSON.parse(await page.inputValue("#spec"));
  await page.getByRole("button", { name: "Add action" }).waitFor();
  assert.equal((await spec()).actions.length, 4);

  await page.getByLabel("title", { exact: true }).fill("Two steps");
  for (const n of [4, 3, 2]) await page.getByRole("button", { name: `Remove action ${n}` }).click();
  await page.getByLabel("Type of the next action").selectOption("http");
  await page.getByRole("button", { name: "Add action" }).click();
  await page.locator(".action summary", { hasText: "http" }).first().click();
  await page.getByLabel("url").fill("http://example.com/a");
  await page.getByRole("button", { name: "Move action 2 up" }).click();
  assert.deepEqual(await spec(), { title: "Two steps", actions: [{ type: "http", url: "http://example.com/a" }, { type: "wait", ms: 1000 }] });

  await page.fill("#spec", '{"title":"By hand","maxAttempts":99,"actions":[{"type":"wait","ms":-1},{"type":"wait","ms":10,"metres":3}]}');
  assert.equal(await page.getByLabel("title", { exact: true }).inputValue(), "By hand");
  await page.keyboard.press("Control+Enter");
  await page.getByRole("alert").getByRole("button", { name: "/actions/0/ms" }).waitFor();
  assert.ok((await page.getByLabel("maxAttempts").getAttribute("aria-describedby")).includes("-bad"));
  assert.equal(await page.locator(".action.bad").count(), 2);
  await page.getByRole("button", { name: "/actions/0/ms" }).click();
  assert.equal(await page.evaluate(() => document.activeElement.dataset.pointer), "/actions/0/ms");
  await page.keyboard.press("Control+a");
  await page.keyboard.type("20");
  await page.getByRole("alert").getByRole("listitem").filter({ hasText: "metres" }).getByRole("button", { name: "in the JSON" }).click();
  assert.equal(await page.evaluate(() => document.activeElement.value.slice(document.activeElement.selectionStart, document.activeElement.selectionEnd)), "3");
  await page.fill("#spec", "{");
  await page.getByText("once that can be read").waitFor();
  await page.keyboard.press("Control+Enter");
  await page.getByRole("alert").getByText("cannot be read").waitFor();

  await page.getByRole("button", { name: "A worker's job" }).click();
  await page.getByLabel("queue").fill("mail");
  await page.getByLabel("payload").fill('{"to":"you"}');
  await page.locator(".page-head .primary").click();
  await page.waitForURL(/\/jobs\/[0-9a-f-]{36}$/);
  await page.getByText("waits for a worker of the queue").waitFor();
  const id = page.url().split("/").at(-1);
  const job = await server.ask("GET", `/v1/jobs/${id}`, key);
  assert.deepEqual([job.title, job.queue, job.payload], ["Letter", "mail", { to: "you" }]);

  await page.keyboard.press("e"); // run it again with edits
  await page.waitForURL(/\/submit$/);
  assert.deepEqual(await spec(), { title: "Letter", queue: "mail", payload: { to: "you" } });
  assert.deepEqual(faults.filter((f) => !f.includes("status of 422")), []); // browsers log each refusal
});

test("with the page alone: a recording is submitted, its failure is understood, it is mended and run again", async (t) => {
  const server = await Server.start(t, "--allow-private-addresses");
  const key = await server.key("pages");
  const site = await shop(t);
  const { page } = await open(t, server, { viewport: { width: 360, height: 740 } });
  await page.fill("#key", key);
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Menu" }).click();
  await page.getByRole("link", { name: "Submit" }).click();
  await page.getByRole("heading", { name: "Submit" }).waitFor();

  const recording = JSON.parse((await readFile(new URL("../examples/recordings/order.json", import.meta.url), "utf8")).replaceAll("http://localhost:8000", site));
  const step = recording.steps.findIndex((s) => s.type === "waitForElement");
  const good = recording.steps[step].selectors;
  recording.steps[step] = { ...recording.steps[step], selectors: [["#no-such-thing"]], timeout: 300 };
  await page.evaluate((text) => { // as if it was dropped
    const data = new DataTransfer();
    data.items.add(new File([text], "order.json", { type: "application/json" }));
    document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
  }, JSON.stringify({ ...recording, maxAttempts: 1 }));
  await page.getByText(`A recording of ${recording.steps.length} steps: Order tea.`).waitFor();
  await page.locator(".page-head .primary").click();

  const why = page.locator(".why");
  await why.getByText("TimeoutError").waitFor();
  assert.match(await why.textContent(), new RegExp(`#no-such-thing.*Step ${step + 1} of ${recording.steps.length}, waitForElement`, "s"));
  await why.getByRole("link").click();
  await page.waitForFunction(() => document.querySelector("img[alt='failure.png']")?.naturalWidth > 0);

  await page.getByRole("link", { name: "Run again with edits" }).click();
  await until("the job is in the JSON", async () => (await page.inputValue("#spec")).includes("#no-such-thing"));
  await page.locator(`.action:nth-child(${step + 1}) > details > summary`).click();
  await page.locator(`.action:nth-child(${step + 1})`).getByLabel("selectors").fill(JSON.stringify(good));
  await page.locator(".page-head .primary").click();
  await page.locator(".page-head").getByText("Completed").waitFor();
  await page.getByRole("tab", { name: "Artifacts" }).click();
  await page.waitForFunction(() => document.querySelector(".picture img")?.naturalWidth > 0);
});

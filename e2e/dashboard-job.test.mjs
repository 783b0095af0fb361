// The page of one job, in Chromium: what somebody sees and does there, with the page alone.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { promisify } from "node:util";
import { open } from "./dashboard.mjs";
import { patience, until } from "./jobcast.mjs";
import { shop } from "./shop.mjs";
import { Server } from "./socketio.mjs";

test("a worker's job: its log follows and is searched, its files are looked at, its end is told", async (t) => {
  const server = await Server.start(t);
  const key = await server.key("pages");
  const job = await server.submit(key, { queue: "mail", title: "Send letters", payload: null });
  const { page, faults } = await open(t, server, { key, path: `/jobs/${job.id}?tab=log` });
  await page.getByRole("heading", { name: "Send letters" }).waitFor();
  await page.getByText("waiting for").waitFor();

  const { jobs: [claimed] } = await server.ask("POST", "/v1/workers/claim", key, { queues: ["mail"], leaseMs: 600_000 });
  const lease = { "X-Lease-Token": claimed.lease.token };
  const report = (body) => server.ask("POST", `/v1/jobs/${job.id}/progress`, key, body, lease);
  for (let n = 0; n < 3; n++) await report(Array.from({ length: 500 }, (_, i) => ({ log: { level: i % 100 ? "info" : "error", line: `letter ${n * 500 + i}` } })));
  await report({ progress: 40, step: "send", message: "half way" });
  const list = page.getByRole("listbox", { name: "Log lines" });
  await list.getByText("letter 1499").waitFor();
  assert.equal(await page.getByRole("tab", { name: "Log" }).textContent(), "Log 1,500");
  assert.ok(await list.getByRole("option").count() < 100, "only what is in view is in the document");

  await list.focus();
  await page.keyboard.press("Home");
  await list.getByText("letter 0", { exact: true }).waitFor();
  await report({ log: { level: "warn", line: "letter late" } });
  await page.getByRole("button", { name: "Follow" }).click();
  await list.getByText("letter late").waitFor();
  await page.getByLabel("Level").selectOption("error");
  await page.getByText("15 of 1,501 lines").waitFor();
  await page.getByLabel("Search the log").fill("LETTER 14");
  await page.getByText("1 of 1,501 lines").waitFor();
  await list.focus();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").getByText("letter 1400").waitFor();
  await page.keyboard.press("Escape");

  // After a reload the newest thousand are here, and the others if they are asked for.
  await page.goto(`${server.url}/jobs/${job.id}?tab=log`);
  await page.getByRole("button", { name: "Load the earlier ones" }).click();
  await page.getByRole("tab", { name: "Log 1,501" }).waitFor();

  const put = async (name, type, body) => {
    const headers = { Authorization: `Bearer ${key}`, ...lease, "Content-Type": type };
    assert.equal((await fetch(`${server.url}/v1/jobs/${job.id}/artifacts/${name}`, { method: "PUT", headers, body })).status, 201);
  };
  await put("note.html", "text/html", "<script>parent.document.title = 'taken'</script>");
  await put("sum.json", "application/json", '{"sent":[1,2]}');
  await put("list.txt", "text/plain", "<b>plain</b>\n");
  await put("dot.png", "image/png", Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==", "base64"));
  await put("page.pdf", "application/pdf", "%PDF-1.4\n%%EOF\n");
  await page.getByRole("tab", { name: "Artifacts 5" }).click();
  await page.waitForFunction(() => document.querySelector(".picture img")?.naturalWidth === 1);
  const file = (name) => page.getByRole("listitem").filter({ hasText: name });
  assert.equal(await file("note.html").getByRole("button", { name: "Show" }).count(), 0, "HTML is never shown");
  await file("sum.json").getByRole("button", { name: "Show" }).click();
  await file("sum.json").getByText('"sent": [').waitFor();
  await file("list.txt").getByRole("button", { name: "Show" }).click();
  assert.equal(await file("list.txt").locator("pre").textContent(), "<b>plain</b>\n");
  await file("page.pdf").getByRole("button", { name: "Show" }).click();
  assert.match(await file("page.pdf").locator("iframe").getAttribute("src"), /^blob:/);
  const [download] = await Promise.all([page.waitForEvent("download"), file("note.html").getByRole("button", { name: "Download" }).click()]);
  assert.equal(download.suggestedFilename(), "note.html");
  assert.match(await readFile(await download.path(), "utf8"), /^<script>/);

  await server.ask("POST", `/v1/jobs/${job.id}/complete`, key, { result: { sent: 1500 } }, lease);
  await page.getByRole("tab", { name: "Result" }).click();
  await page.getByText('"sent": 1500').waitFor();
  await page.locator(".page-head").getByText("Completed").waitFor();
  assert.equal(await page.getByRole("button", { name: "Cancel" }).count(), 0);

  await page.getByRole("button", { name: "Copy as…" }).click();
  await page.getByRole("tab", { name: "curl" }).focus();
  for (const [name, part] of [["fetch", "application/x-ndjson"], ["EventSource", 'token = "jct_…"'], ["socket.io-client", 'path: "/socket.io/"'], ["Go", "c.Watch"]]) {
    await page.keyboard.press("ArrowRight");
    assert.equal(await page.getByRole("tab", { name, exact: true }).getAttribute("aria-selected"), "true");
    const text = await page.getByRole("dialog").locator("pre").textContent();
    assert.ok(text.includes(part), name);
    if (name !== "fetch" && name !== "socket.io-client") continue;
    const { stdout } = await promisify(execFile)("node", ["--input-type=module", "-e", text.replace("jc_…", key)], { cwd: import.meta.dirname, timeout: patience });
    assert.match(stdout, /job\.completed/, `${name}, with a key in its place`);
  }
  assert.ok(!(await page.content()).includes(key));
  assert.notEqual(await page.title(), "taken");
  assert.deepEqual(faults, []);
});

test("a browser job: its picture is live, its failure is found, it is retried and cancelled", async (t) => {
  const server = await Server.start(t, "--allow-private-addresses");
  const key = await server.key("pages");
  const site = await shop(t);
  const job = await server.submit(key, {
    title: "Buy tea", maxAttempts: 1,
    actions: [{ type: "navigate", url: `${site}/index.html` }, { type: "wait", ms: 3_000 }, { type: "click", selector: "#checkout", timeout: 200 }],
  });
  const { page, faults } = await open(t, server, { key, path: `/jobs/${job.id}`, viewport: { width: 360, height: 740 }, colorScheme: "dark" });
  await page.locator(".screen.live canvas").waitFor();
  const painted = () => page.evaluate(() => {
    const { width, height } = document.querySelector(".screen canvas");
    return document.querySelector(".screen canvas").getContext("2d").getImageData(0, 0, width, height).data.some((v) => v > 200);
  });
  await until("the picture shows the shop", painted);
  const shows = async () => (await server.ask("GET", "/v1/me", key)).limits.streams.used;
  assert.equal(await shows(), 1, "the picture");

  await page.locator(".why").getByText("TimeoutError").waitFor();
  assert.match(await page.locator(".why").textContent(), /#checkout.*Step 3 of 3, click #checkout, of attempt 1/s);
  assert.deepEqual(await page.locator(".waterfall .mark").allTextContents(), ["done: ", "done: ", "failed: "]);
  await page.getByRole("link", { name: "What the page looked like" }).click();
  await page.waitForFunction(() => document.querySelector("img[alt='failure.png']")?.naturalWidth > 0);
  await until("nothing is looked at any more", async () => await shows() === 0);
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "nothing sticks out");

  await page.getByRole("button", { name: "Retry" }).click();
  await page.waitForURL((url) => !url.pathname.includes(job.id));
  await page.getByRole("link", { name: job.id.slice(0, 8) }).waitFor();
  const sure = page.getByRole("button", { name: "Cancel the job" });
  await until("it asks", async () => { // keys are heard from when the job is there
    await page.keyboard.press("c");
    return sure.isVisible();
  });
  await sure.click();
  await page.locator(".page-head").getByText("Cancelled").waitFor();

  await page.goto(`${server.url}/jobs/00000000-0000-7000-8000-000000000000`);
  await page.getByRole("heading", { name: "This job is not there" }).waitFor();
  assert.deepEqual(faults.filter((f) => !f.includes("status of 4")), []); // browsers log each 404 and 409
});

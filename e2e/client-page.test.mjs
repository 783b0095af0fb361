// The page of examples/page, in Chromium.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import http from "node:http";
import { test } from "node:test";
import { key, newPage, url } from "./jobcast.mjs";

// site serves the folder with this server's address in it, and returns its own.
async function site(t) {
  const server = http.createServer(async ({ url: path }, response) => {
    const name = path === "/" ? "index.html" : path.slice(1);
    const text = await readFile(new URL(`../examples/page/${name}`, import.meta.url), "utf8").catch(() => "");
    response.writeHead(text ? 200 : 404, { "Content-Type": name.endsWith(".js") ? "text/javascript" : "text/html" });
    response.end(text.replaceAll("http://localhost:3000", url));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => { server.closeAllConnections(); server.close(); });
  return `http://127.0.0.1:${server.address().port}`;
}

test("examples/page starts a job, shows it, and goes on with it after a reload", async (t) => {
  const page = await newPage(t);
  const faults = [];
  page.on("pageerror", (e) => faults.push(e.message));
  await page.goto(`${await site(t)}/#key=${key}`);
  const types = async () => (await page.locator("li").allTextContents()).map((line) => line.split(" ")[0]);
  await page.click("form button");
  await page.waitForFunction(() => document.querySelector("progress").value >= 25);
  assert.match(await page.textContent("#connection"), /^live websocket/);
  await page.context().setOffline(true);
  await page.context().setOffline(false);
  await page.waitForFunction(() => document.querySelector("output").value === "completed");
  const whole = ["job.created", "job.started", ...Array(4).fill("job.progress"), "job.completed"];
  assert.deepEqual(await types(), whole);

  await page.reload();
  await page.waitForFunction(() => document.querySelector("output").value === "completed");
  assert.deepEqual(await types(), whole);

  await page.click("form button");
  await page.waitForFunction(() => document.querySelector("output").value === "processing");
  await page.click("#cancel");
  await page.waitForFunction(() => document.querySelector("output").value === "cancelled");
  assert.deepEqual(faults, []);
});

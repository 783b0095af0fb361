// The pages of examples/page and examples/react, and a worker, in Chromium.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import http from "node:http";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { key, newPage, submit, url, waits } from "./jobcast.mjs";

// site serves a folder of examples with this server's address in it, and returns its own. `built` is
// what its build makes.
async function site(t, folder, built = {}) {
  const server = http.createServer(async ({ url: path }, response) => {
    const name = path === "/" ? "index.html" : path.slice(1);
    const text = built[name] ?? await readFile(new URL(`../examples/${folder}/${name}`, import.meta.url), "utf8").catch(() => "");
    response.writeHead(text ? 200 : 404, { "Content-Type": name.endsWith(".js") ? "text/javascript" : "text/html" });
    response.end(text.replaceAll("http://localhost:3000", url));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => { server.closeAllConnections(); server.close(); });
  return `http://127.0.0.1:${server.address().port}`;
}

describe("the pages", { concurrency: true }, () => {
  test("examples/page starts a job, shows it, and goes on with it after a reload", async (t) => {
    const page = await newPage(t);
    const faults = [];
    page.on("pageerror", (e) => faults.push(e.message));
    await page.goto(`${await site(t, "page")}/#key=${key}`);
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

  test("examples/react follows several jobs on one connection", async (t) => {
    const here = (path) => fileURLToPath(new URL(path, import.meta.url));
    const { outputFiles: [main] } = await build({
      entryPoints: [here("../examples/react/main.jsx")], bundle: true, format: "esm", jsx: "automatic", write: false,
      nodePaths: [here("node_modules")], alias: { jobcast: here("../client/js/client.js") },
    });
    const page = await newPage(t);
    const faults = [], sockets = [];
    page.on("pageerror", (e) => faults.push(e.message));
    page.on("websocket", (s) => sockets.push(s.url()));
    await page.goto(`${await site(t, "react", { "main.js": main.text })}/#key=${key}`);
    for (let n = 0; n < 3; n++) await page.click("#start");
    await page.locator("li").nth(2).waitFor();
    await page.locator("li").nth(2).getByRole("button").click();
    await page.waitForFunction(() => [...document.querySelectorAll("li b")].map((b) => b.textContent).join() === "completed,completed,cancelled");
    const told = await page.locator("li small").allTextContents();
    assert.match(told[0], /^7 events, ended/);
    assert.match(told[1], /^7 events, ended/);
    assert.equal(sockets.length, 1, "StrictMode mounts twice, and three jobs are watched");
    assert.deepEqual(faults, []);
  });

  test("a worker of a page watches as the page does", async (t) => {
    const page = await newPage(t);
    await page.goto(await site(t, "page"));
    const job = await submit(waits(2, 50));
    const types = await page.evaluate(([url, key, id]) => new Promise((resolve) => {
      const text = `import("${url}/client.js").then(async ({ connect }) => {
        const types = [];
        for await (const event of connect({ url: "${url}", key: "${key}" }).watch("${id}")) types.push(event.type);
        postMessage(types);
      }).catch((e) => postMessage(String(e)))`;
      new Worker(URL.createObjectURL(new Blob([text], { type: "text/javascript" })), { type: "module" }).onmessage = (m) => resolve(m.data);
    }), [url, key, job.id]);
    assert.deepEqual(types, ["job.created", "job.started", "job.progress", "job.progress", "job.completed"]);
  });
});

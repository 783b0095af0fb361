// The pages of queues and of figures: they follow what happens without a reload, show administrators the server,
// and look well at both widths and in both themes.

import assert from "node:assert/strict";
import { test } from "node:test";
import { look, open } from "./dashboard.mjs";
import { Server } from "./socketio.mjs";

test("queues, workers and figures follow what happens", async (t) => {
  const server = await Server.start(t);
  const key = await server.key("demo", "--scope=submit", "--scope=watch", "--scope=work", "--scope=admin");
  const plain = await server.key("demo", "--scope=watch");
  const post = async (path, body, lease = "") => {
    const response = await fetch(server.url + path, {
      method: "POST", body: JSON.stringify(body), headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json", ...(lease && { "X-Lease-Token": lease }) },
    });
    assert.ok(response.ok, `${path}: ${response.status}`);
    return response.json();
  };

  const { page, faults } = await open(t, server, { key, path: "/queues" });
  await page.waitForSelector(".empty");

  const later = new Date(Date.now() + 86_400_000).toISOString();
  await post("/v1/jobs/batch", { jobs: [
    ...Array.from({ length: 40 }, () => ({ queue: "mail" })), ...Array.from({ length: 14 }, () => ({ queue: "mail", runAt: later })),
    ...Array.from({ length: 6 }, () => ({ queue: "invoices.monthly" })), ...Array.from({ length: 3 }, () => ({ queue: "a-queue-with-a-very-long-name-that-does-not-fit-on-a-phone" })),
  ] });
  const { jobs } = await post("/v1/workers/claim", { queues: ["mail", "sms"], worker: "host-1.example.com", max: 12 });
  await post("/v1/workers/claim", { queues: ["sms"] });
  const mail = page.locator(".queue-row", { has: page.getByRole("link", { name: "mail", exact: true }) });
  await mail.getByText("12 running").waitFor();
  assert.match(await mail.innerText(), /28 due\s+14 later[^]*1 worker/);
  assert.match(await page.locator(".queue-row", { hasText: "invoices" }).innerText(), /6 due[^]*No worker has asked/);
  assert.match(await page.locator("table.plain").innerText(), /host-1\.example\.com\s+12\s+mail, sms/);
  await post(`/v1/jobs/${jobs[0].id}/complete`, {}, jobs[0].lease.token);
  await mail.getByText("11 running").waitFor();
  await look(page, "queues");

  await page.getByRole("link", { name: "Overview" }).click();
  await page.locator(".tile.completed b", { hasText: /^1$/ }).waitFor();
  await post(`/v1/jobs/${jobs[1].id}/fail`, { errorMessage: "no", retry: false }, jobs[1].lease.token);
  await page.locator(".tile.failed b", { hasText: /^1$/ }).waitFor();
  await page.getByText(/submitted, 1 completed, 1 failed/).waitFor();
  await page.locator("section[aria-label='The server'] canvas").waitFor();
  await look(page, "overview");
  assert.deepEqual(faults, []);

  const other = await open(t, server, { key: plain, path: "/overview" });
  await other.page.locator(".tile.failed b", { hasText: /^1$/ }).waitFor();
  assert.equal(await other.page.locator("section[aria-label='The server']").count(), 0);
  assert.deepEqual(other.faults, []);
});

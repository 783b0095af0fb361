// The dashboard's pages of connections and of keys, tokens and secrets, in a real browser: what is
// there, what ends, what is shown once, and what a key may not do.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { look, open } from "./dashboard.mjs";
import { until } from "./jobcast.mjs";
import { Server } from "./socketio.mjs";

const everything = ["--scope=submit", "--scope=watch", "--scope=work", "--scope=admin"];

// stream opens an event stream and returns what it has said by now, and its end.
function stream(server, key, path, headers = {}) {
  const held = { text: "", over: false };
  held.done = fetch(`${server.url}${path}`, { headers: { Authorization: `Bearer ${key}`, Accept: "text/event-stream", ...headers } }).then(async (response) => {
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) held.text += chunk;
  }).catch(() => {}).finally(() => { held.over = true; });
  return held;
}

test("connections are seen and ended; keys, tokens and secrets are made and taken away", async (t) => {
  const file = join(process.env.SCRATCH, "secrets.key");
  writeFileSync(file, randomBytes(32).toString("base64"), { mode: 0o600 });
  const server = await Server.start(t, `--secret-key-file=${file}`);
  const key = await server.key("shop", ...everything, "--name=operator");
  const { page, faults } = await open(t, server, { key, path: "/connections" });
  const row = (name) => page.locator("tbody tr", { hasText: name });
  const press = (name) => page.getByRole("button", { name, exact: true }).click();

  await t.test("connections", async () => {
    await page.getByText("Nobody is connected").waitFor();
    await look(page, "connections-none");
    const app = await server.key("shop", "--name=web shop", "--max-connections=20");
    const job = await server.submit(app, { queue: "mail", payload: null });
    const held = stream(server, app, `/v1/jobs/${job.id}/events?conflate=1`, { "User-Agent": "shop/2.1 (orders)" });
    const all = stream(server, key, "/v1/events", { "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36", Accept: "application/x-ndjson" });
    await row("web shop").waitFor();
    assert.match(await row("web shop").innerText(), new RegExp(`Server-Sent Events.*conflated[^]*…${job.id.slice(-8)}[^]*nothing[^]*127\\.0\\.0\\.1[^]*shop/2\\.1`));
    assert.match(await row("operator").innerText(), /NDJSON[^]*yours[^]*all jobs[^]*Chrome 140, Linux/);
    await look(page, "connections");
    await page.keyboard.press("/");
    await page.keyboard.type("web shop");
    await page.getByText("1 of 2.").waitFor();
    await press("End the connection of web shop");
    await page.getByText("stays away until").waitFor();
    await look(page, "connections-end");
    await press("Back");
    assert.equal(held.over, false);
    await press("End the connection of web shop");
    await press("End it");
    await held.done;
    assert.match(held.text, /event: problem\ndata: .*An administrator has ended this connection/);
    await page.getByText("No connection is like that").waitFor();
    assert.equal(all.over, false);
  });

  await t.test("keys", async () => {
    await page.getByRole("link", { name: "Keys" }).click();
    await row("web shop").waitFor();
    assert.match(await row("operator").innerText(), /yours/);
    await press("New key");
    await page.fill("[name=name]", "importer");
    await page.uncheck("[value=work]");
    await page.selectOption("[name=ends]", { label: "in 30 days" });
    await page.fill("[name=connections]", "3");
    await page.fill("[name=hosts]", "not a host!");
    await press("Create");
    await page.getByRole("alert").getByText("/allowHosts").waitFor();
    await look(page, "keys-new");
    await page.fill("[name=hosts]", "*.example.com, example.com");
    await press("Create");
    const made = await page.locator(".secret").innerText();
    await look(page, "keys-once");
    await press("Done");
    assert.match(await row("importer").innerText(), /submit\s+watch\s[^]*3 connections\s+only \*\.example\.com, example\.com[^]*in 29 d|in 30 d/);
    const { json } = await server.call("GET", "/v1/me", made);
    assert.deepEqual([json.name, json.scopes, json.limits.streams.max], ["importer", ["submit", "watch"], 3]);
    assert.ok(!(await page.content()).includes(made), "it is not shown again");
    await look(page, "keys");
    await press("Revoke importer");
    await press("Revoke it");
    await row("importer").waitFor({ state: "detached" });
    await until("it is refused", async () => (await server.call("GET", "/v1/me", made)).status === 401);
    await page.getByLabel("Also those that have ended").check();
    assert.match(await row("importer").innerText(), /revoked/);
  });

  await t.test("tokens", async () => {
    await page.getByRole("tab", { name: "Tokens" }).click();
    await look(page, "tokens");
    await press("New token");
    await page.fill("[name=job]", "nonsense");
    await press("Create");
    await page.getByRole("alert").waitFor();
    const job = await server.submit(key, { queue: "mail", payload: null });
    await page.fill("[name=job]", job.id);
    await page.selectOption("[name=ttl]", "600");
    await press("Create");
    const made = await page.locator(".secret").innerText();
    await look(page, "tokens-once");
    const { json } = await server.call("GET", "/v1/me", made);
    const left = Date.parse(json.expiresAt) - Date.now();
    assert.ok(json.jobId === job.id && left > 0 && left <= 600_000);
    await press("Done");
  });

  await t.test("secrets", async () => {
    await page.getByRole("tab", { name: "Secrets" }).click();
    await page.getByText("No secrets yet").waitFor();
    await press("New secret");
    await page.fill("[name=name]", "shop.password");
    await page.fill("[name=value]", "correct horse");
    await page.fill("[name=hosts]", "shop.example.com");
    await look(page, "secrets-new");
    await press("Keep");
    await row("shop.password").waitFor();
    assert.ok(!(await page.content()).includes("correct horse"));
    await look(page, "secrets");
    await press("Replace shop.password");
    await page.fill("[name=value]", "battery staple");
    await press("Replace");
    await page.getByText("shop.password is kept.").first().waitFor();
    const { json } = await server.call("GET", "/v1/secrets", key);
    assert.deepEqual(json.secrets.map((s) => [s.name, s.hosts, s.updatedAt > s.createdAt]), [["shop.password", ["shop.example.com"], true]]);
    await press("Delete shop.password");
    await press("Delete it");
    await page.getByText("No secrets yet").waitFor();
    await page.getByRole("tab", { name: "Browser states" }).click();
    await page.getByText("No browser states yet").waitFor();
    await look(page, "browser-states");
  });

  await t.test("what a key may not do is not offered", async () => {
    const reader = await server.key("shop", "--scope=watch", "--name=reader");
    const other = await open(t, server, { key: reader, path: "/keys" });
    await other.page.getByRole("button", { name: "New token" }).waitFor();
    assert.deepEqual(await other.page.getByRole("tab").allInnerTexts(), ["Tokens"]);
    assert.equal(await other.page.getByRole("link", { name: "Connections" }).count(), 0);
    await other.page.goto(`${server.url}/connections`);
    await other.page.getByText("This key may not see that").waitFor();
    assert.deepEqual(other.faults, []);
  });

  assert.deepEqual(faults.filter((fault) => !/status of (404|422)/.test(fault)), []); // what was refused above
});

// The dashboard's shell and its list of jobs, in Chromium, as people use them.

import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { test } from "node:test";
import { promisify } from "node:util";
import { open } from "./dashboard.mjs";
import { until, waits } from "./jobcast.mjs";
import { Server } from "./socketio.mjs";

const rows = (page) => page.locator(".jobs-body [data-id]");
const path = (page) => new URL(page.url()).pathname + new URL(page.url()).search;
const badge = (page, id) => page.locator(`#job-${id} .badge`);

test("the dashboard", { concurrency: true }, async (t) => { // each of these has a client and pages of its own
  const server = await Server.start(t);
  await Promise.all([
    t.test("a key signs in, is kept in the tabs, and is forgotten by all of them", async (t) => {
      const key = await server.key("signs-in");
      const { page, faults } = await open(t, server);
      await page.fill("#key", "jc_wrong_key");
      await page.keyboard.press("Enter");
      await page.getByRole("alert").getByText("refused").waitFor();
      assert.equal(faults.length, 1, "a refused call, and nothing else");
      await page.fill("#key", key);
      await page.keyboard.press("Enter");
      await page.waitForSelector(".paste");
      await page.reload();
      await page.waitForSelector(".paste");
      const other = await page.context().newPage();
      await other.goto(`${server.url}/jobs`);
      await other.waitForSelector(".paste");
      assert.equal(await page.evaluate(() => localStorage.length), 0);
      await page.getByRole("button", { name: "Sign out" }).click();
      for (const p of [page, other]) {
        await p.waitForSelector("#key");
        assert.equal(await p.evaluate(() => sessionStorage.length), 0);
      }
      await page.goto(`${server.url}/jobs?state=failed#key=${key}`);
      await page.waitForSelector("main h1");
      assert.equal(page.url(), `${server.url}/jobs?state=failed`, "a key leaves the address at once");

      const command = `'${process.env.JOBCAST_BINARY}' open --no-browser --client signs-in --url ${server.url} --data '${server.data}' --scopes watch`;
      const { stdout } = await promisify(execFile)("script", ["-qec", command, "/dev/null"]);
      const link = /http\S+#login=\S+/.exec(stdout)[0];
      await page.goto(`${server.url}/#key=${await server.key("somebody-else")}`); // the document stays: only the end of the address is another
      const question = (p) => p.getByRole("dialog", { name: "Sign in by this link?" });
      const answer = (p, name) => question(p).getByRole("button", { name }).click();
      await answer(page, "Back");
      const client = page.locator(".account-who p[title='Client signs-in']");
      await client.waitFor();
      await page.goto(link);
      await question(page).waitFor();
      assert.doesNotMatch(page.url(), /login/, "a code leaves the address at once");
      await answer(page, "Sign in");
      await page.getByText("This key may only watch.").waitFor();
      const { stdout: more } = await promisify(execFile)("script", ["-qec", command, "/dev/null"]);
      const fresh = await page.context().newPage();
      await fresh.goto(/http\S+#login=\S+/.exec(more)[0]);
      await answer(fresh, "Sign in"); // another tab is signed in
      await fresh.getByText("This key may only watch.").waitFor();
      for (const bad of [link, `${server.url}/#key=jc_wrong_key`]) {
        await page.goto(bad);
        await answer(page, "Sign in");
        await page.locator(".toast.bad").getByText(/no longer good|refused/).waitFor();
        await page.getByRole("button", { name: "Dismiss" }).click();
        await page.goto(`${server.url}/jobs?state=${bad === link}`);
        await client.waitFor(); // who is signed in stays so
      }
      await page.goto(`${server.url}/jobs/..%2Fevents%3F`);
      await page.getByText("This job is not there").waitFor();
      for (const p of [page, fresh]) await p.getByRole("button", { name: "Sign out" }).click();
      await page.goto(link);
      await page.getByRole("alert").getByText("no longer good").waitFor();
    }),

    t.test("first run: the line that is copied, pasted into a shell, moves the page", async (t) => {
      const key = await server.key("first-run");
      const { page, faults } = await open(t, server, { key, permissions: ["clipboard-read", "clipboard-write"] });
      assert.ok(!(await page.textContent(".paste pre")).includes(key), "the key is not shown");
      await page.getByRole("button", { name: "Copy" }).click();
      const line = (await page.evaluate(() => navigator.clipboard.readText())).replaceAll("2000", "50");
      await page.evaluate(() => { globalThis.same = true; });
      await promisify(execFile)("bash", ["-c", line]);
      await rows(page).getByText("First job").waitFor();
      await rows(page).getByText("Completed").waitFor();
      assert.ok(await page.evaluate(() => globalThis.same), "nothing was loaded anew");
      await page.locator(".jobs-states a.completed .count").getByText("1").waitFor();
      assert.deepEqual(faults, []);
    }),

    t.test("a job that changes while the tabs of a filter are counted is counted again", async (t) => {
      const key = await server.key("counted");
      const job = await server.submit(key, { queue: "tally", title: "Late", payload: 1 });
      const { page, faults } = await open(t, server, { key, path: "/jobs" });
      await page.route(/status=cancelled/, async (route) => {
        const answer = await route.fetch(); // what was true before
        await server.ask("POST", `/v1/jobs/${job.id}/cancel`, key, {});
        await badge(page, job.id).getByText("Cancelled").waitFor();
        await route.fulfill({ response: answer });
      }, { times: 1 });
      await page.getByRole("searchbox").fill("late");
      await page.locator(".jobs-states a.cancelled .count").getByText("1").waitFor();
      assert.deepEqual(faults, []);
    }),

    t.test("a connection that an administrator ends is told, and is there again on demand", async (t) => {
      const [key, admin] = [await server.key("ended"), await server.key("ended", "--scope=admin")];
      const { page } = await open(t, server, { key });
      await page.locator(".connection.live").waitFor();
      const { connections } = await server.ask("GET", "/v1/connections", admin);
      await fetch(`${server.url}/v1/connections/${connections[0].id}`, { method: "DELETE", headers: { Authorization: `Bearer ${admin}` } });
      await page.getByRole("alert").getByRole("button", { name: "Try again" }).click();
      await page.locator(".connection.live").waitFor();
      const job = await server.submit(key, { queue: "q", title: "Afterwards", payload: 1 });
      await badge(page, job.id).getByText("Pending").waitFor();
      assert.equal(await page.getByRole("alert").count(), 0);
    }),

    t.test("the filter is in the address; new jobs wait while somebody reads further down", async (t) => {
      const key = await server.key("filters");
      const many = Array.from({ length: 230 }, (_, n) => ({ queue: n % 10 ? "mail" : "print", title: `Letter ${n}`, payload: n }));
      await server.ask("POST", "/v1/jobs/batch", key, { jobs: many });
      const { page, faults } = await open(t, server, { key });
      await rows(page).getByText("Letter 229").waitFor();
      assert.ok(await rows(page).count() < 60, "only what is in view is in the document");
      await page.locator(".jobs-states a.pending .count").getByText("230", { exact: true }).waitFor();

      await page.keyboard.press("/");
      await page.keyboard.type("LETTER 11");
      await page.waitForFunction(() => document.querySelectorAll(".jobs-body [data-id]").length === 11); // 11, 110 to 119
      assert.equal(path(page), "/jobs?q=LETTER+11");
      await page.locator(".jobs-states a.pending .count").getByText("11", { exact: true }).waitFor();
      await page.fill(".queue", "print");
      await page.keyboard.press("Tab");
      await page.waitForFunction(() => document.querySelectorAll(".jobs-body [data-id]").length === 1);
      assert.equal(path(page), "/jobs?q=LETTER+11&queue=print");
      await page.getByRole("link", { name: "Completed" }).click();
      await page.getByText("No job is like that").waitFor();
      await page.goBack();
      await rows(page).getByText("Letter 110").waitFor();
      await server.submit(key, { queue: "print", title: "Letter 11, again", payload: null });
      await page.mouse.move(5, 5);
      await rows(page).getByText("Letter 11, again").waitFor(); // although an event does not tell its title
      await page.goto(`${server.url}/jobs`);
      await rows(page).getByText("Letter 229").waitFor();

      await until("all are there", async () => {
        await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
        return (await page.textContent(".jobs-foot")).includes("231");
      });
      await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
      await rows(page).getByText("Letter 0").waitFor();
      const before = await page.evaluate(() => scrollY);
      await rows(page).getByText("Letter 3", { exact: true }).click();
      await page.getByRole("heading", { level: 1, name: "Letter 3" }).waitFor();
      assert.equal(await page.evaluate(() => scrollY), 0);
      const missed = await server.submit(key, { queue: "mail", title: "Meanwhile", payload: null });
      await page.goBack();
      await rows(page).getByText("Letter 3", { exact: true }).waitFor();
      await page.getByRole("button", { name: "1 new" }).waitFor();
      assert.equal(await page.evaluate(() => scrollY), before, "who comes back reads on where they were");
      assert.equal(await rows(page).getByText("Meanwhile").count(), 0, missed.id);

      const fresh = [await server.submit(key, waits(1, 1)), await server.submit(key, { ...waits(1, 1), title: "The newest" })];
      await page.getByRole("button", { name: "3 new" }).waitFor();
      assert.equal(await page.evaluate(() => scrollY), before, "nothing has moved");
      await page.keyboard.press("n");
      await rows(page).getByText("The newest").waitFor();
      for (const { id } of fresh) await badge(page, id).getByText("Completed").waitFor();
      assert.equal(await page.evaluate(() => scrollY), 0);
      assert.deepEqual(faults, []);
    }),

    t.test("a page of the list that is older than what events told takes nothing back", async (t) => {
      const key = await server.key("crossing");
      const { page, faults } = await open(t, server, { key });
      await page.waitForSelector(".paste");
      let release, seen;
      const gate = new Promise((done) => { release = done; });
      const asked = new Promise((done) => { seen = done; });
      await page.route("**/v1/jobs?*", async (route) => {
        const response = await route.fetch(); // as it is now
        if (response.ok() && (await response.json()).jobs.length) seen();
        await gate;
        await route.fulfill({ response });
      });
      const { id } = await server.submit(key, { queue: "mail", title: "Crossing", payload: null });
      await asked;
      await server.ask("POST", `/v1/jobs/${id}/cancel`, key);
      await badge(page, id).getByText("Cancelled").waitFor();
      release();
      await rows(page).getByText("Crossing").waitFor(); // an event does not tell that
      assert.equal(await badge(page, id).textContent(), "Cancelled");
      assert.deepEqual(faults, []);
    }),

    t.test("by the keyboard alone: several are cancelled, and retried", async (t) => {
      const key = await server.key("keyboard");
      const ids = [];
      for (let n = 0; n < 4; n++) ids.unshift((await server.submit(key, { ...waits(1, 60_000), title: `Long ${n}` })).id);
      const { page, faults } = await open(t, server, { key });
      await badge(page, ids[0]).getByText("Running").waitFor();
      await page.keyboard.press("j");
      await page.keyboard.press("j");
      await page.keyboard.press("x");
      await page.keyboard.press("Shift+ArrowDown");
      await page.getByText("2 jobs picked").waitFor();
      const grid = page.getByRole("grid");
      assert.equal(await grid.getAttribute("aria-activedescendant"), `job-${ids[2]}`);
      assert.equal(await page.locator(`#job-${ids[1]}`).getAttribute("aria-selected"), "true");
      await page.getByRole("button", { name: "Cancel 2" }).focus();
      await page.keyboard.press("Enter");
      await page.getByRole("dialog").waitFor();
      await page.keyboard.press("Escape");
      await page.getByRole("dialog").waitFor({ state: "detached" });
      await page.getByRole("button", { name: "Cancel 2" }).focus();
      await page.keyboard.press("Enter");
      await page.getByRole("button", { name: "Cancel 2 jobs" }).waitFor();
      await page.keyboard.press("Enter");
      await page.getByText("2 jobs cancelled").waitFor();
      for (const id of ids.slice(1, 3)) await badge(page, id).getByText("Cancelled").waitFor();
      assert.equal(await badge(page, ids[0]).textContent(), "Running");

      await grid.focus();
      await page.keyboard.press("Control+a");
      await page.getByText("4 jobs picked").waitFor();
      await page.getByRole("button", { name: "Retry 2" }).click();
      await page.getByRole("button", { name: "Retry 2 jobs" }).click();
      await page.getByText("2 jobs submitted again").waitFor();
      await page.waitForFunction(() => document.querySelectorAll(".jobs-body [data-id]").length === 6);
      await page.goto(`${server.url}/jobs?state=cancelled`);
      await page.waitForFunction(() => document.querySelectorAll(".jobs-body [data-id]").length === 2);
      assert.deepEqual(faults, []);
    }),

    t.test("what a key may not do is not offered; the theme is kept", async (t) => {
      const key = await server.key("watches", "--scope=watch");
      const { page, faults } = await open(t, server, { key });
      await page.getByText("This key may only watch.").waitFor();
      const writer = await server.key("watches");
      const { id } = await server.submit(writer, waits(1, 1));
      await badge(page, id).getByText("Completed").waitFor();
      assert.equal(await page.locator("input[type=checkbox]").count(), 0);
      assert.deepEqual(await page.locator("nav[aria-label=Pages] a", { hasText: "Submit" }).count(), 0);
      await page.getByRole("radio", { name: "Dark" }).check();
      await page.reload();
      await page.waitForSelector("main h1");
      assert.equal(await page.evaluate(() => getComputedStyle(document.documentElement).colorScheme), "dark");
      await page.keyboard.press("Tab");
      assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the content");
      await page.keyboard.press("Enter");
      assert.equal(await page.evaluate(() => document.activeElement.id), "main");
      assert.deepEqual(faults, []);
    }),
  ]);
});

test("a server that is away is told calmly, and what was missed is there afterwards", async (t) => {
  const server = await Server.start(t);
  const key = await server.key("away");
  const { id } = await server.submit(key, { queue: "q", title: "Before", payload: null });
  const { page } = await open(t, server, { key });
  await badge(page, id).getByText("Pending").waitFor();
  await page.locator(".connection.live").waitFor();
  const one = await page.context().newPage();
  await one.goto(`${server.url}/jobs/${id}`);
  await one.locator(".connection.live").waitFor();
  await server.kill();
  await page.locator(".connection.lost").waitFor();
  await one.getByText("Not live since").waitFor();
  assert.equal(await rows(page).count(), 1, "what is known stays");
  await server.start();
  const after = await server.submit(key, { ...waits(1, 1), title: "After" });
  await page.locator(".connection.live").waitFor();
  await badge(page, after.id).getByText("Completed").waitFor();
  await rows(page).getByText("After").waitFor();
  await one.getByText("Not live since").waitFor({ state: "detached" });
});

test("a log that begins anew is read anew: jobs that are gone do not stay", async (t) => {
  const server = await Server.start(t);
  const key = await server.key("anew");
  const { id } = await server.submit(key, { queue: "q", title: "Of the old log", payload: null });
  const { page } = await open(t, server, { key });
  await badge(page, id).getByText("Pending").waitFor();
  await page.locator(".connection.live").waitFor();
  await server.submit(key, { queue: "q", payload: null }); // an event, which the page comes back with
  await page.waitForFunction(() => document.querySelectorAll(".jobs-body [data-id]").length === 2);
  await server.kill();
  rmSync(server.data, { recursive: true });
  execFileSync(process.env.JOBCAST_BINARY, ["keys", "import", "--client=anew", `--data=${server.data}`], { input: key });
  await server.start();
  await server.submit(key, { queue: "q", title: "Of the new log", payload: null });
  await rows(page).getByText("Of the new log").waitFor();
  await page.locator(`#job-${id}`).waitFor({ state: "detached" });
});

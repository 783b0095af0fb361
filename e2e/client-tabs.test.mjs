// Tabs of one Chromium that share a connection of the JavaScript client.

import assert from "node:assert/strict";
import { test } from "node:test";
import { key, newPage, post, until, url } from "./jobcast.mjs";
import { author, facts } from "./watching.mjs";

const mint = async (body = {}) => (await (await post("/v1/tokens", body)).json()).token;

// open opens a tab that watches job with a credential; streams counts the connections that it has made.
async function open(context, job, options) {
  const page = await context.newPage();
  const tab = { page, streams: 0, facts: async () => facts(await page.evaluate(() => heard)) };
  page.on("request", (r) => { if (r.headers().accept?.includes("event-stream")) tab.streams++; });
  page.on("websocket", () => tab.streams++);
  await page.addInitScript(() => {
    globalThis.said = [];
    const { postMessage } = BroadcastChannel.prototype;
    BroadcastChannel.prototype.postMessage = function (message) {
      said.push(JSON.stringify([this.name, message]));
      return postMessage.call(this, message);
    };
  });
  await page.goto(`${url}/static/style.css`); // any document will do
  await page.evaluate(async ([job, options]) => {
    const { connect } = await import("/client.js");
    globalThis.heard = [];
    globalThis.states = [];
    globalThis.jobcast = connect(options);
    globalThis.watching = jobcast.watch(job, { onEvent: (e) => heard.push(e), onState: (s) => states.push(s.state) });
    watching.done.then(() => { globalThis.over = "ended"; }, (e) => { globalThis.over = e.code || e.message; });
  }, [job, options]);
  return tab;
}

const live = (tab) => tab.page.waitForFunction(() => states.at(-1) === "live");
const ended = (tab) => tab.page.waitForFunction(() => globalThis.over).then((h) => h.jsonValue());
const streams = async (token) => (await (await fetch(`${url}/v1/me?token=${token}`)).json()).limits.streams.used;

for (const transport of ["websocket", "sse"]) {
  test(`${transport}: eight tabs have one connection; it survives the tab that has it, closed and frozen`, async (t) => {
    const context = (await newPage(t)).context();
    const token = await mint();
    const options = { token, timings: { tab: 300, answer: 300 }, ...(transport === "sse" && { WebSocket: null }) };
    const a = await author(t);
    const tabs = [await open(context, a.id, options)];
    await a.log(30);
    tabs.push(...await Promise.all(Array.from({ length: 7 }, () => open(context, a.id, options))));
    await Promise.all(tabs.map(live)); // HTTP/1.1 lets a browser have six connections, a token five streams
    assert.equal(await streams(token), 1);
    const leaders = () => tabs.filter((tab) => tab.streams > 0);
    assert.deepEqual(leaders(), [tabs[0]]);

    // The tab that has the connection is closed while events come.
    const writing = (async () => { for (let n = 0; n < 20; n++) await a.log(5); })();
    await tabs[1].page.waitForFunction(() => heard.length > 50);
    await tabs.shift().page.close();
    await writing;
    const all = await a.events();
    for (const tab of tabs) await tab.page.waitForFunction((n) => heard.length >= n, all.length);
    assert.equal(leaders().length, 1, "one of the others has taken over");
    await until("the closed tab's connection is gone", async () => await streams(token) === 1);

    // The next one is held, as one that is frozen, and goes on later.
    const [frozen] = leaders();
    const cdp = await context.newCDPSession(frozen.page);
    await cdp.send("Debugger.enable");
    await cdp.send("Debugger.pause");
    await a.log(10);
    const others = tabs.filter((tab) => tab !== frozen);
    for (const tab of others) await tab.page.waitForFunction((n) => heard.length >= n, all.length + 10);
    assert.ok(leaders().length > 1);
    await cdp.send("Debugger.disable");
    await a.log(10);
    await a.complete();
    for (const tab of tabs) {
      assert.equal(await ended(tab), "ended");
      assert.deepEqual(await tab.facts(), await a.events());
    }
    await until("nobody is connected", async () => await streams(token) === 0);
  });
}

test("a tab with another credential shares nothing, and no credential leaves its tab", async (t) => {
  const context = (await newPage(t)).context();
  const [a, b] = [await author(t), await author(t)];
  const [token, other] = [await mint(), await mint({ jobId: b.id })];
  const tabs = [await open(context, a.id, { token }), await open(context, a.id, { token }), await open(context, a.id, { key })];
  const stranger = await open(context, a.id, { token: other });
  assert.equal(await ended(stranger), "not_found");
  const everything = await open(context, "all", { token: other });
  assert.equal(await ended(everything), "forbidden");
  const alone = await open(context, a.id, { token, share: false });
  await Promise.all([...tabs, alone].map(live));
  assert.deepEqual([...tabs, alone].map((tab) => tab.streams), [1, 0, 1, 1]);
  assert.equal(await streams(token), 2);

  // A refusal of what a follower wants ends that watch alone.
  assert.equal(await tabs[1].page.evaluate((id) => jobcast.watch(id).done.catch((e) => e.code), "0".repeat(8) + "-0000-7000-8000-" + "0".repeat(12)), "not_found");
  // The tab with the connection leaves the room, and serves the others still.
  await tabs[0].page.evaluate(() => watching.close());
  await a.log(3);
  await a.complete();
  for (const tab of [tabs[1], tabs[2], alone]) {
    assert.equal(await ended(tab), "ended");
    assert.deepEqual(await tab.facts(), await a.events());
  }
  assert.deepEqual(await stranger.facts(), []);

  const told = (await Promise.all([...tabs, stranger, everything, alone].map((tab) => tab.page.evaluate(async () => JSON.stringify([said, await navigator.locks.query()]))))).join();
  assert.ok(told.includes("job.event"), "something was said");
  for (const secret of [key, token, other, key.split("_").at(-1), token.split(".").at(-1)]) assert.ok(!told.includes(secret));
});

test("without Web Locks each tab has its own", async (t) => {
  const context = (await newPage(t)).context();
  await context.addInitScript(() => Object.defineProperty(navigator, "locks", { value: undefined }));
  const token = await mint();
  const a = await author(t);
  const tabs = [await open(context, a.id, { token }), await open(context, a.id, { token })];
  await Promise.all(tabs.map(live));
  assert.equal(await streams(token), 2);
  await a.complete();
  for (const tab of tabs) assert.equal(await ended(tab), "ended");
});

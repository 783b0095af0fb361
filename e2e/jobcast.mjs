// The server under test and the clients that the tests drive.

import assert from "node:assert/strict";
import { after } from "node:test";

export const url = process.env.JOBCAST_URL;
export const key = process.env.JOBCAST_KEY;

// submit makes a job and returns it. It throws on any answer but 202.
export async function submit(spec) {
  const response = await post("/v1/jobs", spec);
  assert.equal(response.status, 202, await response.clone().text());
  return response.json();
}

export function post(path, body) {
  return fetch(url + path, {
    method: "POST",
    headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
}

// waits is a job of n actions of ms milliseconds each.
export const waits = (n, ms) => ({ actions: Array.from({ length: n }, () => ({ type: "wait", ms })) });

export const eventsPath = (job) => `/v1/jobs/${job.id}/events?apiKey=${encodeURIComponent(key)}`;

let running; // Promise of the one Chromium of this process, once somebody wants it

// patience bounds every single waiting of these tests, in ms. It is long enough for a
// busy machine: what is waited for is an event, and comes or does not.
export const patience = 120_000;

async function launch() {
  const { chromium } = await import("playwright-core");
  return chromium.launch({
    executablePath: process.env.CHROMIUM, timeout: patience,
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
}

// newPage opens a page with nothing from other tests in it; test t closes it.
export async function newPage(t, options = {}) {
  running ||= launch(); // at once: tests that run side by side share it
  const context = await (await running).newContext(options);
  context.setDefaultTimeout(patience);
  t.after(() => context.close());
  return context.newPage();
}

after(async () => (await running)?.close());

// follow opens an EventSource on url and puts what it hears into heard. It only
// closes it when told to. It is also sent to the browser as text, so it uses
// nothing from outside.
function follow(EventSource, url) {
  const heard = { events: [], ids: [], frames: {}, over: false };
  const source = new EventSource(url);
  source.onmessage = (m) => {
    heard.events.push(m.data);
    heard.ids.push(m.lastEventId);
  };
  for (const name of ["connected", "subscribed", "live", "reset", "reconnect", "problem", "end", "forged"]) {
    source.addEventListener(name, (m) => { (heard.frames[name] ||= []).push({ id: m.lastEventId, data: m.data }); });
  }
  source.onerror = () => { heard.over = source.readyState === 2; }; // 2: closed for good
  return { heard, close: () => source.close() };
}

// parsers are the two real EventSource implementations. Each value prepares one
// for test t, on pages of the given origin, and returns open(url), which begins
// to follow and returns {heard(), close()}; both are asynchronous.
export const parsers = {
  "npm eventsource": async (t) => {
    const { EventSource } = await import("eventsource");
    return async (target) => {
      const following = follow(EventSource, target);
      t.after(following.close);
      return { heard: async () => following.heard, close: async () => following.close() };
    };
  },
  chromium: async (t, origin) => {
    const page = await newPage(t);
    await page.goto(new URL("/static/style.css", origin).href); // any document will do
    await page.evaluate(`globalThis.followings = []; globalThis.follow = ${follow}; 0`);
    return async (target) => {
      const n = await page.evaluate((target) => followings.push(follow(EventSource, target)) - 1, target);
      return {
        heard: () => page.evaluate((n) => followings[n].heard, n),
        close: () => page.evaluate((n) => followings[n].close(), n),
      };
    };
  },
};

// until polls ask every 20 ms until it returns something true, at most for ms.
// what says what that is; it may be a function, which then can tell how it stands.
export async function until(what, ask, ms = patience) {
  const end = Date.now() + ms;
  for (;;) {
    const got = await ask();
    if (got) return got;
    assert.ok(Date.now() < end, `gave up waiting: ${typeof what === "function" ? what() : what}`);
    await pause(20);
  }
}

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

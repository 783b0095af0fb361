// How real EventSources end, and how they come back, with a page that does
// nothing about either.

import assert from "node:assert/strict";
import { test } from "node:test";
import { eventsPath, parsers, pause, submit, until, waits } from "./jobcast.mjs";
import { proxy } from "./proxy.mjs";

// A client that wrongly tried again would do so after the stream's retry time,
// which is shorter than this.
const quietMs = 5000;

const types = (heard) => heard.events.map((e) => JSON.parse(e).type);
const wholeStory = ["job.created", "job.started", "job.progress", "job.progress", "job.completed"];

for (const [name, prepare] of Object.entries(parsers)) {
  test(`${name}: one more request after the end, answered 204, then silence`, async (t) => {
    const via = await proxy(t);
    const job = await submit(waits(2, 50));
    const { heard } = await (await prepare(t, via.url))(via.url + eventsPath(job));

    await until("the stream is over", async () => (await heard()).over);
    await pause(quietMs);

    const { events, ids, frames } = await heard();
    assert.deepEqual(types({ events }), wholeStory);
    assert.deepEqual(ids, events.map((e) => JSON.parse(e).id), "each message carries the event's id");
    assert.equal(frames.end?.length, 1);
    assert.deepEqual(via.seen.map((s) => s.status), [200, 204]);
    assert.equal(via.seen[1].lastEventId, ids.at(-1));
  });

  test(`${name}: a stream cut before its first event resumes`, async (t) => {
    // Cut after the frame `subscribed`, where no job event has passed yet.
    let heard;
    const via = await proxy(t, (text) => {
      const frame = text.indexOf("event: subscribed");
      const end = frame < 0 ? -1 : text.indexOf("\n\n", frame);
      return end < 0 ? -1 : end + 2;
    }, () => until("`subscribed` is heard", async () => heard && (await heard()).frames.subscribed));
    const job = await submit(waits(2, 50));
    ({ heard } = await (await prepare(t, via.url))(via.url + eventsPath(job)));

    await until("the stream is over", async () => (await heard()).over);

    const { events, frames } = await heard();
    assert.deepEqual(via.seen.map((s) => s.status), [200, 200, 204]);
    assert.equal(via.seen[1].lastEventId, frames.subscribed[0].id, "it comes back with the cursor of `subscribed`");
    assert.deepEqual(types({ events }), wholeStory, "nothing is lost or doubled");
  });

  test(`${name}: a stream cut in the middle resumes without gap or double`, async (t) => {
    const via = await proxy(t, (text) => {
      const at = text.indexOf('"type":"job.progress"');
      return at < 0 ? -1 : at; // inside an event, which then must come again whole
    });
    const job = await submit(waits(2, 300));
    const { heard } = await (await prepare(t, via.url))(via.url + eventsPath(job));

    await until("the stream is over", async () => (await heard()).over);

    assert.deepEqual(types(await heard()), wholeStory);
    assert.deepEqual(via.seen.map((s) => s.status), [200, 200, 204]);
  });
}

// Text of a job is only ever data: nothing in it can forge an event, a field or
// a line of a stream. Real parsers are the judges.

import assert from "node:assert/strict";
import http from "node:http";
import { test } from "node:test";
import { eventsPath, key, parsers, post, until, url } from "./jobcast.mjs";

const corpus = [
  "\n", "\r", "\r\n", "\n\n", "\r\r", "\r\n\r\n", "a\nb", "a\rb", "a\r\nb",
  "\0", "a\0b", "\x01\x1f\x7f",
  "\n\nevent: forged\ndata: 1\n\n", "\r\revent: forged\rdata: 1\r\r", "\r\n\r\nevent: forged\r\ndata: 1\r\n\r\n",
  "\nid: forged-1\n", "\nretry: 1\n", "\n:\n", "\ndata: {}\n\n",
  "\u2028\u2028event: forged\u2028data: 1\u2028\u2028", "\u2029", "\u0085\u0085event: forged\u0085data: 1\u0085\u0085",
  "\v\vevent: forged\v\v", "\f\fevent: forged\f\f",
  "\ufeff", "\ufeffdata: x", "data: \ufeff", "\ufffe\uffff",
  "👩‍👩‍👧‍👦 🏳️‍🌈 é ẞ 𝒳", "\u202eevent: forged\u202c", "\u200b\u200d",
  "\ud800", "\udc00x", "x\ud83d",
  "\\n\\nevent: forged\\ndata: 1", "\\u000a", '"}\n\ndata: {"id":"forged-1"}', "]]>", "<script>alert(1)</script>", "--%00--%0a",
  " ", "", " leading and trailing ", ":", "event", "a".repeat(4096), "\n".repeat(512),
];

// Each text stands as a value and as a member's name, in metadata, which every
// stream repeats in its frame `subscribed`.
const specFor = (text) => ({ actions: [{ type: "wait", ms: 0 }], metadata: { text, [`name ${text}`]: 1 } });

// submitAll returns [text, job] for what was accepted. The rest must be refused
// as a whole, and only text that has no faithful form as UTF-8 JSON may be.
async function submitAll() {
  const accepted = [];
  for (const text of corpus) {
    const response = await post("/v1/jobs", specFor(text));
    if (response.status === 202) {
      accepted.push([text, await response.json()]);
    } else {
      assert.ok([400, 422].includes(response.status), `status ${response.status} for ${JSON.stringify(text)}`);
      assert.ok(!text.isWellFormed() || text.includes("\0"), `refused: ${JSON.stringify(text)}`);
    }
  }
  return accepted;
}

// judge fails unless heard holds exactly one faithful job.
function judge(text, heard) {
  const shown = JSON.stringify(text);
  const cursor = /^[a-z0-9]{1,16}-\d+$/;
  assert.equal(heard.frames.forged, undefined, `forged event by ${shown}`);
  assert.equal(heard.frames.subscribed?.length, 1, `one subscribed for ${shown}`);
  const { job } = JSON.parse(heard.frames.subscribed[0].data);
  assert.deepEqual(job.metadata, specFor(text).metadata, `round trip of ${shown}`);
  for (const id of [...heard.ids, heard.frames.subscribed[0].id]) assert.match(id, cursor, `id with ${shown}`);
  assert.deepEqual(heard.events.map((e) => JSON.parse(e).type), ["job.created", "job.started", "job.progress", "job.completed"]);
}

for (const [name, prepare] of Object.entries(parsers)) {
  test(`${name}: the corpus comes back exactly and forges nothing`, async (t) => {
    const open = await prepare(t, url);
    for (const [text, job] of await submitAll()) {
      const following = await open(url + eventsPath(job));
      await until("the frame `end`", async () => (await following.heard()).frames.end);
      await following.close();
      judge(text, await following.heard());
    }
  });
}

test("every line of the raw stream is one of the fields of the standard", async () => {
  for (const [text, job] of await submitAll()) {
    const response = await fetch(url + eventsPath(job), { headers: { Accept: "text/event-stream" } });
    const raw = Buffer.from(await response.arrayBuffer());
    assert.ok(!raw.includes(0) && !raw.includes(13), "no NUL and no CR");
    for (const line of raw.toString("utf8").split("\n")) {
      assert.match(line, /^(|:.*|retry: \d+|event: [a-z]+|id: [a-z0-9]+-\d+|data: [{].*[}])$/s, JSON.stringify(text));
    }
    assert.ok(!raw.includes(key), "the key is not in the stream");
  }
});

test("the judge catches a server that writes text as it is", async (t) => {
  const text = "\n\nevent: forged\ndata: 1\n\n";
  const naive = http.createServer((request, response) => {
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.end(`event: subscribed\ndata: {"text":"${text}"}\n\nevent: end\ndata: {}\n\n`);
  });
  await new Promise((resolve) => naive.listen(0, "127.0.0.1", resolve));
  t.after(() => naive.close());
  const open = await parsers["npm eventsource"](t);
  const following = await open(`http://127.0.0.1:${naive.address().port}/`);
  await until("the frame `end`", async () => (await following.heard()).frames.end);
  await following.close();
  const heard = await following.heard();
  assert.throws(() => judge(text, heard), /forged event/);
});

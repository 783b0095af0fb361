// A peer that breaks every rule hurts nobody but itself.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import http from "node:http";
import net from "node:net";
import { after, test } from "node:test";
import { patience, until } from "./jobcast.mjs";
import { Server, connected, modes, sameEvents } from "./socketio.mjs";

const server = await Server.start({ after });
const key = await server.key("mallory", "--max-connections=1000");
const path = "/socket.io/?EIO=4&transport=";
const join = `40/jobs,${JSON.stringify({ token: key })}`;

// What becomes of the peer:
const ends = "ends"; // its session is over
const stays = "stays"; // its session goes on

// Requests without a session: [what, method, path and query, headers].
const requests = [
  ["no query", "GET", "/socket.io/"],
  ["no version", "GET", "/socket.io/?transport=polling"],
  ["version 3", "GET", "/socket.io/?EIO=3&transport=polling"],
  ["a version that is no number", "GET", "/socket.io/?EIO=four&transport=polling"],
  ["no transport", "GET", "/socket.io/?EIO=4"],
  ["an unknown transport", "GET", `${path}pigeon`],
  ["POST as handshake", "POST", `${path}polling`],
  ["PUT as handshake", "PUT", `${path}polling`],
  ["a session that is not there", "GET", `${path}polling&sid=nobody`],
  ["POST to a session that is not there", "POST", `${path}polling&sid=nobody`],
  ["DELETE of a session that is not there", "DELETE", `${path}polling&sid=nobody`],
  ["a huge session id", "GET", `${path}polling&sid=${"x".repeat(3000)}`],
  ["broken escapes", "GET", `${path}polling&sid=%zz%00%ff`],
  ["websocket without an upgrade", "GET", `${path}websocket`],
  ["an upgrade without a key", "GET", `${path}websocket`, { Connection: "Upgrade", Upgrade: "websocket", "Sec-WebSocket-Version": "13" }],
  ["an upgrade of version 99", "GET", `${path}websocket`,
    { Connection: "Upgrade", Upgrade: "websocket", "Sec-WebSocket-Version": "99", "Sec-WebSocket-Key": randomBytes(16).toString("base64") }],
];

// Messages, sent over each transport: [what, packets, joined the namespace
// before?, what becomes of the session]. Buffers are binary messages.
const messages = [
  ["an empty packet", [""], false, ends],
  ["an unknown type", ["9"], false, ends],
  ["a letter", ["x"], false, ends],
  ["a ping, which only servers send", ["2"], false, ends],
  ["an open packet", ["0{}"], true, stays],
  ["an upgrade out of place", ["5"], true, stays],
  ["a pong that nobody asked for", ["3", "3probe"], true, stays],
  ["a message without content", ["4"], false, ends],
  ["an unknown packet type", ["47/jobs,"], false, ends],
  ["a letter as packet type", ["4x"], false, ends],
  ["an event before joining", ['42/jobs,["subscribe",{}]'], false, ends],
  ["an acknowledgement before joining", ["43/jobs,1[]"], false, ends],
  ["leaving before joining", ["41/jobs,"], false, ends],
  ["joining with an array", ["40/jobs,[]"], false, ends],
  ["joining with a string", ['40/jobs,"key"'], false, ends],
  ["joining with null", ["40/jobs,null"], false, ends],
  ["joining with half an object", ['40/jobs,{"token":'], false, ends],
  ["joining with a member twice", ['40/jobs,{"token":"a","token":"b"}'], false, stays],
  ["joining with deep JSON", [`40/jobs,{"a":${"[".repeat(30_000)}${"]".repeat(30_000)}}`], false, stays],
  ["joining with unclosed deep JSON", [`40/jobs,{"a":${"[".repeat(60_000)}`], false, ends],
  ["joining with half a surrogate", ['40/jobs,{"token":"\\ud800","name":"\\ud83d"}'], false, stays],
  ["joining with numbers as key", ['40/jobs,{"token":1,"apiKey":2,"pid":3,"offset":4}'], false, stays],
  ["joining with a forged session", [`40/jobs,${JSON.stringify({ token: key, pid: "A".repeat(26) + ".0-0.0.AAAA", offset: "0-0" })}`], false, stays],
  ["joining with a huge session", [`40/jobs,${JSON.stringify({ token: key, pid: "x".repeat(25_000), offset: "9".repeat(25_000) })}`], false, stays],
  ["joining another namespace", ["40/admin,"], false, stays],
  ["joining the main namespace", ["40"], false, stays],
  ["joining the main namespace twice", ["40", "40"], true, ends],
  ["an event in the main namespace", ["40", '42["subscribe",{}]', '427["subscribe",{}]'], false, stays],
  ["an event in the main namespace, not joined", ['42["subscribe",{}]'], true, ends],
  ["joining with a query in the name", ["40/jobs?apiKey=x,"], false, stays],
  ["joining a huge namespace", [`40/${"n".repeat(10_000)},`], false, ends],
  ["joining twice", [join], true, ends],
  ["an event in another namespace", ['42/admin,["subscribe",{}]'], true, ends],
  ["an event without payload", ["42/jobs,"], true, ends],
  ["an event that is an object", ["42/jobs,{}"], true, ends],
  ["an event that is an empty array", ["42/jobs,[]"], true, ends],
  ["an event named null", ["42/jobs,[null]"], true, ends],
  ["an event named by an object", ["42/jobs,[{}]"], true, ends],
  ...["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"].map((name) =>
    [`the reserved event ${name}`, [`42/jobs,["${name}"]`], true, ends]),
  ["an event named by a number", ["42/jobs,[7]"], true, stays],
  ["an event with a huge name", [`42/jobs,["${"e".repeat(50_000)}"]`], true, stays],
  ["an event with a prototype in it", ['42/jobs,["__proto__",{"constructor":{"prototype":1}}]'], true, stays],
  ["subscribe with a number", ['42/jobs,["subscribe",1]'], true, stays],
  ["subscribe with numbers inside", ['42/jobs,["subscribe",{"jobId":{},"lastEventId":[]}]'], true, stays],
  ["subscribe with a path as id", ['42/jobs,["subscribe",{"jobId":"../../etc/passwd"}]'], true, stays],
  ["subscribe with a nonsense cursor", ['42/jobs,["subscribe",{"lastEventId":"x"}]'], true, stays],
  ["garbage after the payload", ['42/jobs,["pong"]]'], true, ends],
  ["a negative id", ['42/jobs,-1["pong"]'], true, ends],
  ["a fractional id", ['42/jobs,1.5["pong"]'], true, ends],
  ["a huge id", ['42/jobs,99999999999999999999999999["pong"]'], true, ends],
  ["half a surrogate as name", ['42/jobs,["\\ud800"]'], true, stays],
  ["half a surrogate in what is ignored", ['42/jobs,["pong",{"text":"\\ud83d"}]'], true, stays],
  ["half a surrogate as id", ['42/jobs,7["subscribe",{"jobId":"\\ud83d"}]'], true, stays],
  ["a member twice", ['42/jobs,["subscribe",{"jobId":"a","jobId":"b"}]'], true, stays],
  ["deep JSON", [`42/jobs,["pong",${"[".repeat(30_000)}${"]".repeat(30_000)}]`], true, stays],
  ["a number beyond all numbers", ['42/jobs,["pong",1e999]', '42/jobs,[1e999]'], true, stays],
  ["deep JSON with an attachment", [`451-/jobs,["e",{"_placeholder":true,"num":0},${"[".repeat(30_000)}${"]".repeat(30_000)}]`, Buffer.from("a")], true, stays],
  ["an acknowledgement of nothing", ["43/jobs,4711[]"], true, stays],
  ["an acknowledgement without id", ["43/jobs,[]"], true, ends],
  ["an acknowledgement that is an object", ["43/jobs,1{}"], true, ends],
  ["an error from a client", ['44/jobs,{"message":"no"}'], true, ends],
  ["leaving with a payload", ['41/jobs,{"why":1}'], true, ends],
  ["leaving twice", ["41/jobs,", "41/jobs,"], true, ends],
  ["a binary event without a count", ['45/jobs,["e"]'], true, ends],
  ["a binary event with count 0", ['450-/jobs,["e"]'], true, ends],
  ["a binary event with count 11", ['4511-/jobs,["e"]'], true, ends],
  ["a binary event with a huge count", ['459999999999-/jobs,["e"]'], true, ends],
  ["text where an attachment must come", ['451-/jobs,["e",{"_placeholder":true,"num":0}]', '42/jobs,["pong"]'], true, ends],
  ["attachments that nobody names", ['452-/jobs,["e",{"_placeholder":true,"num":7}]', Buffer.from("a"), Buffer.from("b")], true, ends],
  ["a placeholder that is no number", ['451-/jobs,["e",{"_placeholder":true,"num":"0"}]', Buffer.from("a")], true, ends],
  ["an attachment of nothing", [Buffer.from("stray")], true, ends],
  ["a binary acknowledgement", ['461-/jobs,9[{"_placeholder":true,"num":0}]', Buffer.from("a")], true, stays],
];

// What only one of the transports can carry: bodies of a POST, and raw frames.
const bodies = [
  ["an empty body", "", ends],
  ["only separators", "\x1e\x1e\x1e", ends],
  ["a good packet, then a bad one", '42/jobs,["pong"]\x1e9', ends],
  ["bytes that are not UTF-8", Buffer.from([0x34, 0x32, 0xff, 0xfe, 0x80]), ends],
  ["JSON with bytes that are not UTF-8", Buffer.concat([Buffer.from('42/jobs,["'), Buffer.from([0xff, 0xfe]), Buffer.from('"]')]), stays],
  ["a body of zeros", Buffer.alloc(1000), ends],
  ["the wrong content type", '42/jobs,["pong"]', ends, { "Content-Type": "application/octet-stream" }],
  ["more than the largest payload", Buffer.alloc(300_000, "4"), stays],
];
const text = (s) => frame(0x81, Buffer.from(s));
const frames = [
  ["a frame without a mask", Buffer.concat([Buffer.from([0x81, 4]), Buffer.from("42[]")])],
  ["a reserved opcode", frame(0x83, Buffer.from("x"))],
  ["a reserved bit", frame(0xc1, Buffer.from("3"))],
  ["a control frame in fragments", frame(0x09, Buffer.from("x"))],
  ["a control frame that is too long", frame(0x89, Buffer.alloc(200))],
  ["a continuation of nothing", frame(0x80, Buffer.from("x"))],
  ["a message of 2^63 bytes", Buffer.from([0x81, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0])],
  ["a message larger than the largest", frame(0x81, Buffer.alloc(300_000, "4"))],
  ["text that is not UTF-8", frame(0x81, Buffer.from([0x34, 0x32, 0xff, 0xfe]))],
  ["a close frame of one byte", frame(0x88, Buffer.from([3]))],
  ["a close frame with a code that is not for the wire", frame(0x88, Buffer.from([0x03, 0xed]))],
  ["endless fragments", Buffer.concat([frame(0x01, Buffer.from("4")), ...Array.from({ length: 3000 }, () => frame(0x00, Buffer.from("2")))])],
  ["a thousand messages at once", Buffer.concat(Array.from({ length: 1000 }, () => text('42/jobs,["pong"]')))],
];

// frame writes one masked WebSocket frame; first is its first byte.
function frame(first, payload) {
  const length = payload.length < 126 ? [0x80 | payload.length]
    : payload.length < 65_536 ? [0xfe, payload.length >> 8, payload.length & 255]
      : [0xff, 0, 0, 0, 0, ...new Uint8Array(Uint32Array.of(payload.length).buffer).reverse()];
  const mask = randomBytes(4);
  return Buffer.concat([Buffer.from([first, ...length]), mask, payload.map((b, i) => b ^ mask[i % 4])]);
}

function send(method, target, body, headers = {}) {
  return new Promise((resolve, reject) => {
    const request = http.request(server.url + target, { method, headers, agent: false, timeout: patience }, async (response) => {
      let answer = "";
      for await (const chunk of response.setEncoding("utf8")) answer += chunk;
      resolve({ status: response.statusCode, text: answer });
    });
    request.on("upgrade", (response, socket) => { socket.destroy(); resolve({ status: response.statusCode, text: "" }); });
    request.on("timeout", () => request.destroy(new Error(`${method} ${target.slice(0, 80)}: no answer`)));
    request.on("error", reject);
    request.end(body);
  });
}

// A peer speaks to the server without any library. It posts packets and hears
// what comes; over tells whether its session has ended.
async function poller(listening = true) {
  const hello = await send("GET", `${path}polling`);
  const target = `${path}polling&sid=${JSON.parse(hello.text.slice(1)).sid}`;
  const encode = (p) => Buffer.isBuffer(p) ? `b${p.toString("base64")}` : p;
  let heard = "", over = false;
  const listen = async () => {
    for (;;) {
      const { status, text } = await send("GET", target);
      if (status !== 200) break;
      heard += text;
    }
    over = true;
  };
  if (listening) listen().catch((error) => { heard += error; });
  return {
    post: (packets) => send("POST", target, packets.map(encode).join("\x1e"), { "Content-Type": "text/plain" }),
    body: (body, headers) => send("POST", target, body, { "Content-Type": "text/plain", ...headers }),
    poll: () => send("GET", target),
    over: () => over,
    heard: () => heard,
    leave: () => send("POST", target, "1"),
  };
}

async function caller() {
  const socket = net.connect(server.port, "127.0.0.1");
  let closed = false, heard = "";
  socket.on("error", () => {}).on("close", () => { closed = true; });
  socket.on("data", (chunk) => { heard += chunk.toString("latin1"); });
  socket.write(`GET ${path}websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
    `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString("base64")}\r\n\r\n`);
  await until("the handshake", () => heard.includes('"sid"'));
  return {
    post: async (packets) => packets.forEach((p) => socket.write(Buffer.isBuffer(p) ? frame(0x82, p) : text(p))),
    write: (bytes) => socket.write(bytes),
    // A close frame, or the end of the connection, is the end.
    over: () => closed || heard.includes("\x88"),
    heard: () => heard,
    leave: async () => socket.destroy(),
  };
}

// judge waits until it is as it should be. A session that goes on answers.
async function judge(what, peer, outcome) {
  if (outcome === ends) await until(`${what}: the session ends`, () => peer.over());
  if (outcome === stays) {
    await peer.post(["40/probe,"]);
    await until(`${what}: it goes on, it heard ${peer.heard().slice(-300)}`, () => peer.heard().includes("44/probe,"));
    assert.equal(peer.over(), false, what);
  }
  await peer.leave();
}

test("neighbours do not notice", async (t) => {
  const good = await server.key("acme");
  const neighbours = [await connected(t, server.url, good, modes.polling), await connected(t, server.url, good, modes.websocket)];
  for (const client of neighbours) await client.subscribe({});
  const job = await server.work(good);

  const kinds = new Set();
  const deed = async (what, f) => { // neighbours hear of something before and after each
    kinds.add(what);
    await f(what);
    await job.report();
  };
  for (const [what, method, target, headers] of requests) {
    await deed(what, async () => {
      const { status } = await send(method, target, undefined, headers);
      assert.ok(status >= 400 && status < 500, `${what}: ${status}`);
    });
  }
  for (const [kind, open] of [["polling", poller], ["websocket", caller]]) {
    for (const [what, packets, joined, outcome] of messages) {
      await deed(what, async () => {
        const peer = await open();
        if (joined) await peer.post([join]);
        await peer.post(packets);
        await judge(`${what} (${kind})`, peer, outcome);
      });
    }
  }
  for (const [what, body, outcome, headers] of bodies) {
    await deed(what, async () => {
      const peer = await poller();
      await peer.post([join]);
      const { status } = await peer.body(body, headers);
      assert.ok(outcome === ends ? status === 400 : status === (body.length > 100_000 ? 413 : 200), `${what}: ${status}`);
      await judge(what, peer, outcome);
    });
  }
  for (const [what, bytes] of frames) {
    await deed(what, async () => {
      const peer = await caller();
      await peer.post([join]);
      peer.write(bytes);
      await judge(what, peer, ends);
    });
  }
  await deed("two polls at once", async (what) => {
    const peer = await poller(false);
    await peer.post([join]);
    await peer.poll(); // takes what there is, so that the next ones wait
    const both = await Promise.all([peer.poll(), peer.poll()]);
    assert.deepEqual(both.map((a) => a.status).toSorted(), [200, 400]);
    assert.equal((await peer.poll()).status, 400, "the session is over");
  });
  assert.ok(kinds.size >= 64, `${kinds.size} kinds`);

  await job.complete();
  const log = await server.history(good);
  assert.equal(log.length, kinds.size + messages.length + 3);
  for (const client of neighbours) {
    await client.hears(log.at(-1));
    sameEvents(client.ids, log, "a neighbour");
    assert.deepEqual(client.all("connect"), [false]);
    assert.deepEqual([...client.all("disconnect"), ...client.all("error"), ...client.all("connect_error")], []);
  }
  assert.equal((await server.call("GET", "/readyz")).status, 200);
});

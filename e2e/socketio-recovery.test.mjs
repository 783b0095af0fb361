// What is promised when a connection, a server or a key ends: the official client
// comes back, is `recovered`, and has missed nothing and heard nothing twice.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { pause, until } from "./jobcast.mjs";
import { Server, connect, connected, modes, recoveredEvents, wire } from "./socketio.mjs";

// inEveryMode opens one client for each way of connecting, and waits for upgrades.
const inEveryMode = (t, address, key, options) => Promise.all(Object.entries(modes).map(async ([mode, more]) => {
  const client = await connected(t, address, key, { ...more, ...options });
  client.mode = mode;
  await until(`${mode}: it is settled`, () => client.settled);
  return client;
}));

// recovered asserts that every connection but the first went on where the one
// before had ended.
function recovered(client, atLeast) {
  const [first, ...later] = client.all("connect");
  assert.equal(first, false, client.mode);
  assert.ok(later.length >= atLeast, `${client.mode}: ${later.length} reconnects`);
  assert.ok(later.every((r) => r === true), `${client.mode}: recovered each time: ${later}`);
  assert.equal(client.all("connected").length, 1 + later.length);
}

// With offsets as packets of their own a cut inside a write repeats events of that
// write; with offsets as arguments nothing comes twice.
for (const way of ["event", "argument"]) describe(`recovery, offsets by ${way}`, { concurrency: 4 }, () => {
  const trails = way === "argument";
  const start = (t, ...flags) => Server.start(t, `--socketio-offset=${way}`, ...flags);
  const heard = (client, history, of) => recoveredEvents(client, history, trails, of);

  // heardAll waits for the last event of the log and compares everything.
  const heardAll = async (clients, history, ms) => {
    for (const client of clients) {
      await client.hears(history.at(-1), ms);
      heard(client, history);
    }
  };

  test("connections are cut while events flow", async (t) => {
    const server = await start(t);
    const key = await server.key("acme");
    const cable = await wire(t, server);
    const clients = await inEveryMode(t, cable.url, key);
    const history = [];
    for (const client of clients) await client.subscribe({});
    const job = await server.work(key);
    for (let round = 0; round < 6; round++) {
      const before = clients.map((c) => c.all("disconnect").length);
      // Not in the middle of an upgrade, where the client has two weak spots: after
      // losing only the WebSocket it sleeps until its ping timeout (45 s), and what
      // it reads in the turn in which it closes does not count in its offset.
      await until("all are settled", () => clients.every((c) => c.settled));
      const reports = [job.report(20), job.report(20)];
      if (round % 2) {
        cable.plugged = false; // who is between two polls would not notice a short cut
        cable.cut();
      } else {
        for (const client of clients) client.socket.io.engine.close();
      }
      reports.push(job.report(20));
      await Promise.all(reports);
      const noticed = (c, i) => c.all("disconnect").length > before[i];
      await until(() => `in round ${round} all noticed; not ${clients.filter((c, i) => !noticed(c, i)).map((c) => c.state)}`,
        () => clients.every(noticed));
      cable.plugged = true;
      await until("all are back", () => clients.every((c) => c.socket.connected));
    }
    await job.complete();
    history.push(...await server.history(key));
    assert.equal(history.length, 2 + 6 * 60 + 1);
    await heardAll(clients, history);
    for (const client of clients) {
      recovered(client, 6);
      const reasons = new Set(client.all("disconnect"));
      assert.ok(reasons.has("forced close"), [...reasons].join());
      assert.equal(client.all("subscribed").length, 1, "the rooms are still there, and nothing is said about them");
    }
  });

  test("the server is killed and comes back", async (t) => {
    const server = await start(t);
    const key = await server.key("acme");
    const cable = await wire(t, server);
    const [busy, quiet, idle] = [await inEveryMode(t, cable.url, key), await inEveryMode(t, cable.url, key), await inEveryMode(t, cable.url, key)];
    const job = await server.work(key);
    const silent = await server.work(key);
    const silentSoFar = await server.history(key, silent.id);
    for (const client of busy) await client.subscribe({ jobId: job.id, lastEventId: "0-0" });
    for (const client of quiet) await client.subscribe({ jobId: silent.id });

    const flowing = job.report(500);
    await until("some events are there", () => busy.every((c) => c.ids.length > 5));
    cable.plugged = false;
    await server.kill();
    cable.cut();
    await flowing.catch(() => {}); // it is in the log or not: the log will tell
    await server.start();
    await job.report(20);
    await silent.report(20);
    cable.plugged = true;
    await until("all are back", () => [...busy, ...quiet, ...idle].every((c) => c.socket.connected));
    await job.report(20);
    await job.complete();
    await silent.complete();

    await heardAll(busy, await server.history(key, job.id));
    await heardAll(quiet, (await server.history(key, silent.id)).slice(silentSoFar.length));
    for (const client of [...busy, ...quiet, ...idle]) recovered(client, 1);
    for (const client of idle) {
      assert.deepEqual(client.ids, []);
      const more = await server.work(key);
      await client.subscribe({ jobId: more.id });
      await client.hears((await more.report()).lastEventId);
    }
  });

  test("the server is killed in the middle of the history of an old job", async (t) => {
    const server = await start(t);
    const key = await server.key("acme");
    const old = await server.work(key);
    for (let i = 0; i < 4; i++) await old.report(1000);
    await old.complete();
    const history = await server.history(key, old.id);
    const cable = await wire(t, server);
    const clients = await inEveryMode(t, cable.url, key);
    for (const client of clients) await client.subscribe({});
    const job = await server.work(key);
    const before = await server.history(key, job.id);
    for (const client of clients) await client.hears(before.at(-1));

    cable.rate = 3000;
    for (const client of clients) client.socket.emit("subscribe", { jobId: old.id, lastEventId: "0-0" });
    const ofOld = (client) => client.all("job.event").filter((e) => e.jobId === old.id).map((e) => e.id);
    await until("the history has begun", () => clients.every((c) => ofOld(c).length > 100));
    await job.report(5); // comes after the history
    cable.plugged = false;
    await server.kill();
    cable.cut();
    for (const client of clients) {
      assert.ok(ofOld(client).length < history.length, `${client.mode}: it was cut in the middle`);
      assert.equal(client.all("live").length, 1, client.mode);
    }
    cable.rate = Infinity;
    await server.start();
    await job.report(5);
    cable.plugged = true;
    await until("all are back", () => clients.every((c) => c.socket.connected));
    await job.report(5);
    await job.complete();

    const all = await server.history(key, job.id);
    for (const client of clients) {
      await client.hears(all.at(-1));
      heard(client, history, (e) => e.jobId === old.id);
      heard(client, all, (e) => e.jobId === job.id);
      recovered(client, 1);
      await client.next("end");
      assert.equal(client.all("end").length, 1);
    }
  });

  for (const restart of [false, true]) {
    test(`a job ends while its clients are away, and nothing comes after it${restart ? ", on a server that was killed meanwhile" : ""}`, async (t) => {
      const server = await start(t);
      const key = await server.key("acme");
      const cable = await wire(t, server);
      const job = await server.work(key);
      const before = (await server.history(key)).length;
      const everything = await inEveryMode(t, cable.url, key);
      const one = await inEveryMode(t, cable.url, key);
      for (const client of everything) await client.subscribe({});
      for (const client of one) await client.subscribe({ jobId: job.id });
      const clients = [...everything, ...one];
      const first = (await job.report()).lastEventId;
      for (const client of clients) await client.hears(first);
      cable.plugged = false;
      cable.cut();
      await until("they are away", () => clients.every((c) => !c.socket.connected));
      await job.report(3);
      await job.complete();
      if (restart) {
        await server.kill();
        await server.start();
      }
      cable.plugged = true;
      await heardAll(clients, (await server.history(key)).slice(before));
      for (const client of clients) recovered(client, 1);
      for (const client of one) assert.equal((await client.next("end")).status, "completed");
    });
  }

  test("a job's end is sent and never arrives", async (t) => {
    const server = await start(t);
    const key = await server.key("acme");
    const cable = await wire(t, server);
    const job = await server.work(key);
    const before = (await server.history(key)).length;
    const clients = await inEveryMode(t, cable.url, key);
    for (const client of clients) await client.subscribe({ jobId: job.id });
    const first = (await job.report()).lastEventId;
    for (const client of clients) await client.hears(first);
    cable.rate = 0;
    await job.complete();
    await until("the server has sent it", async () => {
      const { text } = await server.call("GET", "/metrics");
      return Number(/^jobcast_events_delivered_total\{transport="socketio"\} (\d+)$/m.exec(text)?.[1]) === 2 * clients.length;
    });
    await server.work(key); // what the server has to note after that is noted
    cable.plugged = false;
    cable.cut();
    await until("they are away", () => clients.every((c) => !c.socket.connected));
    for (const client of clients) assert.deepEqual(client.ids, [first], client.mode);
    cable.rate = Infinity;
    cable.plugged = true;
    await heardAll(clients, (await server.history(key, job.id)).slice(before));
    for (const client of clients) {
      recovered(client, 1);
      await client.next("end");
    }
  });

  test("a job that has ended is asked for again and again, and then the connection is cut", async (t) => {
    const server = await start(t);
    const key = await server.key("acme");
    const job = await server.work(key);
    await job.complete();
    const [terminal] = (await server.history(key, job.id)).slice(-1);
    for (const [mode, options] of Object.entries(modes)) {
      const cable = await wire(t, server);
      const client = await connected(t, cable.url, key, options);
      client.mode = mode;
      await until(`${mode}: it is settled`, () => client.settled);
      for (let i = 1; i <= 3; i++) {
        await client.subscribe({ jobId: job.id });
        await client.next("end");
        assert.deepEqual(client.ids, Array(i).fill(terminal), client.mode);
      }
      cable.cut();
      client.socket.io.engine.close();
      await client.next("disconnect");
      await until("it is back", () => client.all("connect").length > 1 && client.socket.connected);
      recovered(client, 1);
      await client.subscribe({});
      const more = await server.work(key);
      await client.hears((await more.report()).lastEventId);
      assert.equal(client.ids.filter((id) => id === terminal).length, 3, `${client.mode}: it is not told once more`);
    }
  });

  test("a page that subscribes in each connect hears each event once", async (t) => {
    const server = await start(t);
    const key = await server.key("acme");
    const cable = await wire(t, server);
    const [ended, late] = [await server.work(key), await server.work(key)];
    const clients = await inEveryMode(t, cable.url, key);
    for (const client of clients) {
      const join = () => { for (const job of [ended, late]) client.socket.emit("subscribe", { jobId: job.id }); };
      client.socket.on("connect", join);
      join();
      for (const _ of [ended, late]) await client.next("live");
      client.socket.on("job.event", (e) => { if (e.type === "job.completed") client.socket.emit("unsubscribe", { jobId: e.jobId }); });
    }
    await ended.complete();
    for (const client of clients) await client.next("end");
    const endsOf = (client, job) => client.all("end").filter((e) => e.jobId === job.id).length;
    const drop = async (meanwhile = () => {}) => {
      // Not while anything is on its way: what a client reads in the turn in which it
      // closes does not count in its offset.
      await quiet(clients);
      const told = clients.map((c) => endsOf(c, ended));
      cable.plugged = false;
      cable.cut();
      for (const client of clients) client.socket.io.engine.close();
      await until("they are away", () => clients.every((c) => !c.socket.connected));
      await meanwhile();
      cable.plugged = true;
      await until("the ended job is answered", () => clients.every((c, i) => endsOf(c, ended) > told[i]));
    };
    for (let i = 0; i < 3; i++) await drop();
    await drop(() => late.complete());
    await drop(async () => {
      await server.kill();
      await server.start();
    });
    await drop();
    const sentinel = await server.work(key);
    for (const client of clients) {
      recovered(client, 6);
      client.socket.emit("subscribe", { jobId: sentinel.id });
    }
    await until("the last is joined", () => clients.every((c) => c.all("live").some((l) => l.room === `job:${sentinel.id}`)));
    const mark = (await sentinel.report()).lastEventId;
    for (const client of clients) {
      await client.hears(mark);
      for (const job of [ended, late]) {
        const log = (await server.history(key, job.id)).slice(2);
        heard(client, log, (e) => e.jobId === job.id);
      }
    }
  });

  test("who leaves on purpose begins anew", async (t) => {
    const server = await start(t);
    const key = await server.key("acme");
    for (const client of await inEveryMode(t, server.url, key)) {
      await client.subscribe({});
      const job = await server.work(key);
      await client.hears((await job.report()).lastEventId);
      client.socket.disconnect();
      client.socket.connect();
      await client.next("connected");
      assert.deepEqual(client.all("connect"), [false, false], client.mode);
      const heard = client.ids;
      const mark = (await job.report()).lastEventId;
      await client.subscribe({ jobId: job.id });
      const last = (await job.report()).lastEventId;
      await client.hears(last);
      assert.deepEqual(client.ids, [...heard, last], `${client.mode}: the old room is gone, so ${mark} was not heard`);
    }
  });

  test("a revoked key ends it; another key of the same client goes on, and nobody else's", async (t) => {
    const server = await start(t);
    const [admin, foreign] = [await server.key("acme", "--scope=submit,watch,work,admin"), await server.key("globex")];
    const revoke = (key) => server.ask("DELETE", `/v1/keys/${key.split("_")[1]}`, admin);
    const cable = await wire(t, server);
    const [first, second] = [await server.key("acme"), await server.key("acme")];
    const clients = await inEveryMode(t, cable.url, first);
    const away = await inEveryMode(t, cable.url, second);
    for (const client of [...clients, ...away]) await client.subscribe({});
    const job = await server.work(admin);
    for (const client of [...clients, ...away]) await client.hears((await job.report()).lastEventId);

    await revoke(first);
    for (const client of clients) {
      assert.equal(await client.next("disconnect"), "io server disconnect", client.mode);
      assert.equal((await client.next("error")).code, "unauthenticated");
      assert.equal(client.socket.active, false);
    }
    cable.plugged = false; // these are revoked while they are away
    cable.cut();
    await until("they are away", () => away.every((c) => !c.socket.connected));
    await revoke(second);
    await job.report();
    cable.plugged = true;
    for (const client of away) {
      await until("it is refused", () => client.all("connect_error").at(-1)?.data?.code === "unauthenticated");
      assert.equal(client.socket.active, false);
    }
    for (const client of clients) assert.equal(client.attempts, 0, `${client.mode}: no reconnect`);

    for (const client of clients) {
      client.socket.connect();
      assert.equal((await client.next("connect_error")).data.code, "unauthenticated", "the pid does not help");
      assert.equal(client.socket.active, false);
    }
    for (const client of [...clients, ...away]) {
      client.socket.auth = { token: admin };
      client.socket.connect();
      await client.next("connected");
      assert.equal(client.socket.recovered, true, client.mode);
    }
    await job.complete();
    const all = await server.history(admin);
    for (const client of [...clients, ...away]) {
      await client.hears(all.at(-1));
      heard(client, all.slice(all.indexOf(client.ids[0])));
    }

    const more = await server.work(admin);
    for (const client of clients) {
      const heard = client.ids.length;
      client.socket.auth = { token: foreign };
      client.socket.io.engine.close();
      assert.equal((await client.next("connected")).clientId, "globex");
      assert.equal(client.socket.recovered, false, client.mode);
      await more.report();
      await client.subscribe({});
      assert.equal(client.ids.slice(heard).length, 0, "no event of the other client");
    }
  });

  for (const busy of [false, true]) {
    test(`the server drains, ${busy ? "while events flow" : "in silence"}`, async (t) => {
      const server = await start(t);
      const key = await server.key("acme");
      const clients = await inEveryMode(t, server.url, key);
      for (const client of clients) await client.subscribe({});
      const job = await server.work(key);
      await job.report(3);
      const before = await server.history(key);
      for (const client of clients) await client.hears(before.at(-1));
      let flowing = true;
      const flow = busy && (async () => { while (flowing) await job.report(5).catch(() => pause(10)); })();
      if (busy) await until("events flow", () => clients.every((c) => c.ids.length > before.length + 20));
      else await quiet(clients);

      await server.stop();
      for (const client of clients) {
        const reason = await client.next("disconnect");
        // A polling client gets no close beside the goodbye: it is refused at its next poll.
        assert.equal(reason, client.mode === "polling" ? "transport error" : "transport close", client.mode);
        assert.equal(client.socket.active, true, client.mode);
        const names = client.heard.map(([name]) => name);
        if (!busy) assert.ok(names.indexOf("reconnect") > 0, `${client.mode}: it is told when to come back`);
        assert.ok(names.indexOf("reconnect") < names.indexOf("disconnect"), `${client.mode}: before it is disconnected`);
      }
      await server.start();
      await until("all are back", () => clients.every((c) => c.socket.connected));
      flowing = false;
      await flow;
      await job.complete();
      await heardAll(clients, await server.history(key));
      for (const client of clients) {
        recovered(client, 1);
        if (busy) continue;
        const [reconnect] = client.all("reconnect");
        assert.ok(reconnect.retryMs > 0);
        assert.equal(reconnect.lastEventId, before.at(-1));
      }
    });
  }
});

// quiet waits until nobody has heard anything for a while, so that each polling
// client has a poll that waits.
async function quiet(clients) {
  const count = () => clients.reduce((n, c) => n + c.heard.length, 0);
  let [last, since] = [count(), Date.now()];
  await until("silence", () => {
    if (count() !== last) [last, since] = [count(), Date.now()];
    return Date.now() - since > 500;
  });
}

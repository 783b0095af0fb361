// The JavaScript client through Debian's nginx: as it proxies by default, and as the README says.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import net from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { WebSocket } from "ws"; // Node 20 has none of its own
import { all, connect } from "../client/js/client.js";
import { key, until, url } from "./jobcast.mjs";
import { author, facts } from "./watching.mjs";

const readme = await readFile(new URL("../client/js/README.md", import.meta.url), "utf8");
const configurations = {
  "by default": { text: "server { listen 80; location / { proxy_pass http://127.0.0.1:3000; } }", transport: "sse" }, // HTTP/1.0, and no upgrade
  "as the README says": { text: /```nginx\n([^]*?)```/.exec(readme)[1], transport: "websocket" },
};

// nginx listens on two free ports of loopback until test t ends, and returns its addresses.
async function nginx(t) {
  const folder = await mkdtemp(join(process.env.SCRATCH, "nginx-"));
  const ports = await Promise.all(Object.keys(configurations).map(() => new Promise((resolve) => {
    const probe = net.createServer().listen(0, "127.0.0.1", () => { const { port } = probe.address(); probe.close(() => resolve(port)); });
  })));
  const servers = Object.values(configurations).map(({ text }, i) => {
    assert.ok(text.includes("listen 80;") && text.includes("http://127.0.0.1:3000;"));
    return text.replace("listen 80;", `listen 127.0.0.1:${ports[i]};`).replace("http://127.0.0.1:3000;", `${url};`);
  });
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((n) => `${n}_temp_path ${folder}/${n};`).join(" ");
  await writeFile(join(folder, "nginx.conf"), `daemon off; worker_processes 1; pid ${folder}/pid; error_log ${folder}/error.log;
    events {}
    http { access_log off; ${temporary}
      ${servers.join("\n")} }`);
  const program = spawn("nginx", ["-p", folder, "-c", join(folder, "nginx.conf"), "-e", join(folder, "error.log")], { stdio: ["ignore", "inherit", "inherit"] });
  t.after(() => { program.kill("SIGTERM"); return new Promise((resolve) => program.once("exit", resolve)); });
  const addresses = ports.map((port) => `http://127.0.0.1:${port}`);
  await until("nginx answers", () => fetch(addresses[0]).then((r) => r.ok, () => false));
  return addresses;
}

test("through nginx, by default and as the README says", async (t) => {
  const addresses = await nginx(t);
  await Promise.all(Object.entries(configurations).map(async ([name, { transport }], i) => {
    const jobcast = connect({ url: addresses[i], key, WebSocket });
    t.after(() => jobcast.close());
    const job = await author(t);
    await job.log(5);
    const events = [], everything = [], used = [];
    const watch = jobcast.watch(job.id, { onEvent: (e) => events.push(e), onState: (s) => s.state === "connected" && used.push(s.transport) });
    jobcast.watch(all, { onEvent: (e) => { if (e.jobId === job.id) everything.push(e); }, onState: (s) => { everything.live = s.state === "live"; } });
    await until(`${name}: the history`, () => events.length >= 7);
    await until(`${name}: live`, () => everything.live);
    for (let n = 8; n < 12; n++) { // one at a time: nothing is held back until there is more of it
      await job.log(1);
      await until(`${name}: event ${n}`, () => events.length >= n);
    }
    assert.equal(used.at(-1), transport, name);
    await job.complete();
    await watch.done;
    const want = await job.events();
    assert.deepEqual(facts(events), want, name);
    await until(`${name}: the end in everything`, () => facts(everything.slice(-1))[0] === want.at(-1));
    assert.deepEqual(facts(everything), want.slice(-everything.length), name);
  }));
});

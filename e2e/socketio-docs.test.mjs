// The JavaScript of docs/socketio.md does what it says: each block runs as a
// module of its own, and prints what the block after it shows.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { patience } from "./jobcast.mjs";
import { Server } from "./socketio.mjs";

const paper = readFileSync(new URL("../docs/socketio.md", import.meta.url), "utf8");
const scratch = process.env.SCRATCH;
symlinkSync(fileURLToPath(new URL("node_modules", import.meta.url)), join(scratch, "node_modules"));
const server = await Server.start({ after });

const blocks = [...paper.matchAll(/^```js\n(.*?)^```\n\n```text\n(.*?)^```$/gms)];

test("every block has what it prints", () => {
  assert.ok(blocks.length >= 4);
  assert.equal(blocks.length, paper.match(/^```js$/gm).length);
});

// run returns what a module prints until it ends by itself.
const run = (file) => new Promise((resolve) => {
  execFile(process.execPath, [file], { timeout: patience }, (error, stdout, stderr) => resolve({ error, stdout, stderr }));
});

describe("docs/socketio.md", { concurrency: 2 }, () => {
  for (const [n, [, code, want]] of blocks.entries()) {
    test(`block ${n + 1}`, async () => {
      const key = await server.key(`reader-${n}`);
      const file = join(scratch, `block-${n}.mjs`);
      writeFileSync(file, code.replaceAll("$URL", server.url).replaceAll("$KEY", key));
      const { error, stdout, stderr } = await run(file);
      assert.equal(error, null, `${error?.signal ?? error?.code}; it printed\n${stdout}\n${stderr}`);
      assert.equal(stderr, "");
      const pattern = want.replace(/[.*+?^${}()|[\]\\]/g, "\\$&").replaceAll("…", ".*");
      assert.match(stdout.replace(/ +$/gm, ""), new RegExp(`^${pattern}$`), `it printed\n${stdout}`);
    });
  }
});

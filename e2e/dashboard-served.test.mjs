// The modules of the dashboard are served without the comments that have lines of their own: what is left is
// the same program.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { transformSync } from "esbuild";
import { url } from "./jobcast.mjs";

test("what is served of each module is the module", async () => {
  const folder = new URL("../static/", import.meta.url);
  const names = readdirSync(folder, { recursive: true }).filter((name) => /^(?!vendor|socketio).*\.js$/.test(name));
  assert.ok(names.length > 30);
  const lean = (text) => transformSync(text, { minify: true, legalComments: "none" }).code;
  for (const name of names) {
    const source = readFileSync(new URL(name, folder), "utf8");
    const served = await (await fetch(`${url}/static/${name}`)).text();
    assert.ok(!/^\s*\/\//m.test(served), name);
    assert.equal(served.split("\n").length, source.split("\n").length, name);
    assert.equal(lean(served), lean(source), name);
  }
});

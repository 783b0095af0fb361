// A small shop for browser jobs, and a page of the dashboard to look at them.

import { readFile } from "node:fs/promises";
import http from "node:http";
import { newPage } from "./jobcast.mjs";

// shop serves examples/site and returns its address.
export async function shop(t) {
  const server = http.createServer(async ({ url: path }, response) => {
    const body = await readFile(new URL(`../examples/site${path.split("?")[0]}`, import.meta.url)).catch(() => null);
    response.writeHead(body ? 200 : 404, { "Content-Type": path.includes(".css") ? "text/css" : path.includes(".js") ? "text/javascript" : "text/html" });
    response.end(body);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => { server.closeAllConnections(); server.close(); });
  return `http://127.0.0.1:${server.address().port}`;
}

// open opens a page of the dashboard, and collects what a healthy one has none of.
export async function open(t, server, { key, path = "/jobs", ...options } = {}) {
  const page = await newPage(t, options);
  const faults = [];
  page.on("console", (m) => { if (["error", "warning"].includes(m.type())) faults.push(m.text()); });
  page.on("pageerror", (e) => faults.push(e.message));
  page.on("request", (r) => { if (/^(http|ws)/.test(r.url()) && !r.url().startsWith(server.url)) faults.push(`asks ${r.url()}`); });
  await page.goto(`${server.url}${path}#key=${key}`);
  return { page, faults };
}

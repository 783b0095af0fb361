// A small shop for browser jobs.

import { readFile } from "node:fs/promises";
import http from "node:http";

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

// socket.io on node:http, as a peer of jobcast. README.md tells what it answers.
import { createServer } from 'node:http';
import { json } from 'node:stream/consumers';
import { Server } from 'socket.io';
import { announce, answer, authenticate, forgetRequests, options, port, publish } from './common.mjs';

const server = createServer(async (req, res) => {
  const respond = (status, body) => {
    const text = JSON.stringify(body);
    res.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) });
    res.end(text);
  };
  const [, door, room] = req.url.split('/');
  if (req.method === 'POST' && door === 'publish' && room) {
    let id;
    try {
      const body = await json(req);
      id = publish(jobs, decodeURIComponent(room), body);
    } catch {
      respond(400, { error: 'the room or the body cannot be read' });
      return;
    }
    respond(200, { lastEventId: id });
  } else if (req.method === 'GET' && req.url === '/memory') {
    globalThis.gc?.();
    respond(200, {});
  } else {
    respond(404, { error: 'not found' });
  }
});

const jobs = new Server(server, options).of('/jobs');
authenticate(jobs);
forgetRequests(jobs);
answer(jobs);

server.listen(port, '127.0.0.1', () => announce(server));

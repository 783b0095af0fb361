// socket.io on Bun and the engine for it, as a peer of jobcast. README.md tells what it
// answers.
import { Server as Engine } from '@socket.io/bun-engine';
import { Server } from 'socket.io';
import { answer, authenticate, port, publish } from './common.mjs';

const engine = new Engine({ path: '/socket.io/' });
const io = new Server({ serveClient: false });
io.bind(engine);
const jobs = io.of('/jobs');
authenticate(jobs);
answer(jobs);

const { fetch: socketio, ...handler } = engine.handler();
const server = Bun.serve({
  ...handler,
  hostname: '127.0.0.1',
  port,
  maxRequestBodySize: 10_000_000,
  async fetch(req, server) {
    const [, door, room] = req.url.slice(req.url.indexOf('/', 'http://'.length)).split('/');
    if (req.method === 'POST' && door === 'publish' && room) {
      try {
        return Response.json({ lastEventId: publish(jobs, decodeURIComponent(room), await req.json()) });
      } catch {
        return Response.json({ error: 'the room or the body cannot be read' }, { status: 400 });
      }
    }
    if (req.method === 'GET' && door === 'memory') {
      Bun.gc(true);
      return Response.json({});
    }
    return socketio(req, server);
  },
});
process.on('SIGTERM', () => process.exit(0));
console.log(`listening on http://127.0.0.1:${server.port}`);

// What the servers in JavaScript share: settings, and the numbered events.
import { parseArgs } from 'node:util';

// As in production: express reads it when an application is made.
process.env.NODE_ENV ??= 'production';

export const key = process.env.BENCH_KEY ?? 'bench-key-0123456789';

export const port = Number(parseArgs({ options: { port: { type: 'string', default: '0' } } }).values.port);

/** The servers on Node.js give Socket.IO these; everything else is its default. */
export const options = {
  transports: ['websocket', 'polling'],
  perMessageDeflate: false,
  httpCompression: false,
  serveClient: false,
};

/** @param {import('socket.io').Namespace} jobs refuses connections without the key */
export function authenticate(jobs) {
  jobs.use((socket, next) => {
    next(socket.handshake.auth.apiKey === key ? undefined : new Error('unauthorized'));
  });
}

/**
 * Socket.IO's documentation advises this to save memory on Node.js: nothing here needs
 * the first request of a connection any longer.
 */
export function forgetRequests(jobs) {
  jobs.server.engine.on('connection', (connection) => {
    connection.request = null;
  });
}

/** Greets clients of a namespace and lets them into rooms. */
export function answer(jobs) {
  jobs.on('connection', (socket) => {
    socket.on('subscribe', (message, ack) => {
      const jobId = message?.jobId;
      if (!isRoom(jobId)) return;
      socket.join(`job:${jobId}`);
      socket.emit('subscribed', { jobId });
      if (typeof ack === 'function') ack({ jobId });
    });
    socket.emit('connected', greeting(socket));
  });
}

/** What a client gets when it connects. */
export const greeting = (socket) => ({ message: 'connected', clientId: socket.id });

export const isRoom = (jobId) => typeof jobId === 'string' && jobId !== '';

const last = new Map(); // number of the last event, by room

/**
 * Numbers and publishes an event, or each of an array in order. It never waits,
 * so nothing comes in between and subscribers see the numbers in order.
 * @returns {string} id of the last event
 */
export function publish(jobs, room, body) {
  const target = jobs.to(`job:${room}`);
  let seq = last.get(room) ?? 0;
  for (const data of Array.isArray(body) ? body : [body]) {
    target.emit('job.event', {
      id: `p-${++seq}`,
      type: 'job.progress',
      jobId: room,
      status: 'processing',
      timestamp: new Date().toISOString(),
      data,
    });
  }
  last.set(room, seq);
  return `p-${seq}`;
}

/** Tells the address, and ends at once on SIGTERM. @param {import('node:http').Server} server */
export function announce(server) {
  server.keepAliveTimeout = 60_000; // publishers rest between two stretches
  process.on('SIGTERM', () => process.exit(0));
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
}

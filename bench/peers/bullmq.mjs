// BullMQ on Redis, as a peer of jobcast for jobs. README.md tells what it says and reads.
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Queue, QueueEvents, Worker } from 'bullmq';

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    redis: { type: 'string' }, // path of the socket
    concurrency: { type: 'string', default: '8' },
    jobs: { type: 'string', default: '20000' },
    producers: { type: 'string', default: '64' },
    batch: { type: 'string', default: '1' },
    rate: { type: 'string', default: '0' },
  },
});
const name = 'bench';
const connection = { path: values.redis, maxRetriesPerRequest: null };
const payload = { n: 1 };

process.on('SIGTERM', () => process.exit(0));
const roles = { work, submit };
await roles[positionals[0]]();

/** Runs jobs until SIGTERM. */
async function work() {
  const worker = new Worker(name, async () => {}, { connection, concurrency: Number(values.concurrency) });
  await worker.waitUntilReady();
  console.log('ready');
}

/** Submits jobs after a line on standard input, and tells what came of them. */
async function submit() {
  // By default only some 10,000 events are kept; a reader that is late must not count as a loss.
  const queue = new Queue(name, { connection, streams: { events: { maxLen: 1_000_000 } } });
  const events = new QueueEvents(name, { connection, lastEventId: '0-0' });
  const producers = Number(values.producers);
  const jobs = Number(values.jobs);
  const batch = Number(values.batch);
  const rate = Number(values.rate);
  const story = ['waiting', 'active', 'completed'];
  const told = new Map(); // by job: how much of its story, and when that was over
  const sent = new Map(); // by acknowledged job: when it was submitted
  let ended = 0;
  let lost = 0;
  let doubled = 0;
  for (const kind of [...story, 'failed', 'stalled']) {
    events.on(kind, ({ jobId }) => {
      const job = told.get(jobId) ?? { told: 0 };
      told.set(jobId, job);
      const skipped = story.indexOf(kind, job.told) - job.told;
      if (skipped < 0) {
        doubled++;
        return;
      }
      lost += skipped;
      job.told += skipped + 1;
      if (job.told === story.length) {
        job.end = performance.now();
        ended++;
      }
    });
  }
  await Promise.all([queue.waitUntilReady(), events.waitUntilReady()]);

  const add = async (n) => {
    const at = performance.now();
    const made = batch === 1
      ? [await queue.add(name, payload)]
      : await queue.addBulk(Array.from({ length: n }, () => ({ name, data: payload })));
    for (const job of made) {
      if (sent.has(job.id)) doubled++;
      sent.set(job.id, at);
    }
  };
  /** Waits until all jobs have ended, or none has for a minute: what is missing then is lost. */
  const settle = async () => {
    for (let was = -1, since = performance.now(); ended < sent.size; await sleep(1)) {
      if (ended !== was) {
        was = ended;
        since = performance.now();
      } else if (performance.now() - since > 60_000) {
        return;
      }
    }
  };

  await Promise.all(Array.from({ length: producers }, () => add(1))); // warms everything up
  await settle();
  console.log('ready');
  await once(process.stdin, 'data');

  let begun = 0;
  const first = performance.now();
  await Promise.all(Array.from({ length: producers }, async () => {
    while (begun < jobs) {
      const n = Math.min(batch, jobs - begun);
      const due = rate > 0 ? first + (begun / rate) * 1000 : 0;
      begun += n;
      if (due > performance.now()) await sleep(due - performance.now());
      await add(n);
    }
  }));
  await settle();

  const times = [];
  let last = first;
  for (const [id, at] of sent) {
    const job = told.get(id);
    lost += story.length - (job?.told ?? 0);
    if (job?.end === undefined || at < first) continue;
    times.push(job.end - at);
    last = Math.max(last, job.end);
  }
  for (const id of told.keys()) if (!sent.has(id)) doubled++;
  times.sort((a, b) => a - b);
  const quantile = (q) => times[Math.max(Math.ceil(q * times.length) - 1, 0)] ?? 0;
  console.log(JSON.stringify({
    acknowledged: sent.size, ended: times.length, tookMs: last - first, p50Ms: quantile(0.5), p99Ms: quantile(0.99), lost, doubled,
  }));
  process.exit(0);
}

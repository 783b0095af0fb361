// It is compiled, and not run: the types say what the README does.
import { all, connect, LostError, Problem, type Job, type Notice, type WatchEvent } from "../client/js/client.js";

const jobcast = connect({ url: "https://jobs.example.com", token: async () => ({ token: "jct_x", expiresAt: "2026-01-01T00:00:00.000Z" }) });
const job: Job = await jobcast.submit({ queue: "letters", payload: { to: "you" } }, { idempotencyKey: "order-7" });
const stop = new AbortController();
const watch = jobcast.watch(all, {
  onEvent: (event: WatchEvent) => {
    if (event.type === "job.progress") event.data.progress.toFixed();
    else if (event.type === "job.completed") event.data.artifacts.map((a) => a.name);
    else if (event.type === "reset") event.data.reason satisfies string;
  },
  onState: (notice: Notice) => notice.state === "lost" && notice.wait.toFixed(),
  signal: stop.signal,
  conflate: true,
});
try {
  for await (const event of jobcast.watch(job.id, { after: watch.cursor, from: "start" })) event.id.length;
  await watch.done;
} catch (error) {
  if (error instanceof Problem) error.code satisfies string;
  if (error instanceof LostError) error.message.length;
}
const ended: Job = await jobcast.wait(job.id);
ended.status === "completed" || await jobcast.retry(job.id) || await jobcast.cancel(job.id);
// @ts-expect-error: there is no such place to start
jobcast.watch(job.id, { from: "yesterday" });

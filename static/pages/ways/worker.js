// A worker in the browser, for those who have none at hand: it runs one job.

import { call, Refusal } from "../../api.js";
import { pause } from "./again.js";

const steps = ["Open the letter", "Read it", "Think of an answer", "Write the answer"];
const stepMs = 700;

// work takes the next job of a queue, waiting up to 10 s for one, reports while
// it pretends to work, and completes it. The lease is short: when the tab is
// closed, another worker may soon have the job. say(text) shows what happens.
// It returns what there is to say in the end. It throws a Refusal, or the
// AbortError of signal.
export async function work(queue, signal, say) {
  const post = (path, json, headers) => call(path, { json, headers, signal });
  say(`Waiting for a job of the queue ${queue}…`);
  const { jobs: [job] } = await post("/v1/workers/claim", { queues: [queue], wait: 10, leaseMs: 10000 });
  if (!job) return `No job of the queue ${queue} was waiting.`;
  const tell = (what, body) => post(`/v1/jobs/${job.id}/${what}`, body, { "X-Lease-Token": job.lease.token });
  try {
    for (const [done, step] of steps.entries()) {
      say(`Working on job ${job.id}, attempt ${job.attempt}.`);
      await tell("progress", { progress: (100 * done) / steps.length, message: step });
      await pause(stepMs, signal, () => {});
    }
    await tell("complete", { result: { by: "a browser", steps: steps.length } });
    return `This tab has completed job ${job.id}.`;
  } catch (error) {
    if (!(error instanceof Refusal) || error.problem.code !== "lease_lost") throw error;
    return `Job ${job.id} is no longer this tab's: it is ${error.problem.jobStatus}.`;
  }
}

export const maxAskedWait = 300_000; // nobody is sent away for ever

/** A refusal of the server (RFC 9457). Branch on `code`; it is empty if not jobcast answered
 * but something in front of it. */
export class Problem extends Error {
  constructor(body, status = body.status, retryAfter = 0) {
    super((body.code ? `${body.code}: ` : `HTTP status ${status}: `) + (body.detail || body.title || body.message || ""));
    Object.assign(this, { code: "", title: "", detail: "", errors: [] }, body, { name: "Problem", status, retryAfter });
  }
}

/** The server could not be reached for as long as the caller wanted to try. */
export class LostError extends Error {
  constructor(ms, cause) {
    super(`connection lost, given up after ${ms} ms: ${cause?.message ?? cause}`, { cause });
    this.name = "LostError";
  }
}

// Why a connection ends that did not fail.
export const changed = new Error("another connection takes its place");
export const silent = new Error("the server sends nothing");
export const cut = new Error("the stream was cut");
export const heardOf = new Error("the transport gets through"); // of a trial
export class Reconnect extends Error {
  constructor(ms) { super("the server asked to come back"); this.ms = Math.min(Math.max(ms || 0, 0), maxAskedWait); }
}

// passing: the same request may soon succeed. A bound on jobs is no such thing, because only
// the caller can decide whether to wait until some of them end.
export const passing = (error) => !(error instanceof Problem) ||
  ([408, 429, 502, 503, 504].includes(error.status) && !["job_limit", "key_limit"].includes(error.code));

// obstructed: a connection that brought nothing may have failed for its transport's sake.
export const obstructed = (error) => !(error instanceof Problem) ||
  (error.code ? ["upgrade_required", "not_acceptable", "method_not_allowed"].includes(error.code) : !passing(error));

export async function problemOf(response) {
  const asked = Number(response.headers.get("Retry-After")) * 1000 || 0;
  const ours = (response.headers.get("Content-Type") || "").startsWith("application/problem+json");
  const body = ours ? await response.json().catch(() => ({})) : (response.body?.cancel().catch(() => {}), {});
  return new Problem({ title: response.statusText, ...body }, response.status, Math.min(asked, maxAskedWait));
}

export const terminal = (event) => ["job.completed", "job.failed", "job.cancelled"].includes(event.type);
// A text that cannot be an id is replaced by one that no job has: a 404, and no other path.
export const jobPath = (id) => `/v1/jobs/${/^[\w-]+$/.test(id) ? id : "-"}`;

/** Aborts with signal, and returns a function that lets go of it. */
export function follow(signal, controller) {
  if (!signal) return () => {};
  const abort = () => controller.abort(signal.reason);
  if (signal.aborted) abort();
  signal.addEventListener("abort", abort);
  return () => signal.removeEventListener("abort", abort);
}

/** A text that nobody else makes. Without a secure context there is no randomUUID. */
export const unique = () => crypto.randomUUID?.() ??
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");

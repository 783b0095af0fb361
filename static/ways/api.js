// One call to the REST API, and plain words for its refusals.

// A Refusal is any answer that is not a success, and also no answer at all
// (status 0). `again` says that the same call may well succeed later;
// `retryMs` is what the server asked to wait, or 0.
export class Refusal extends Error {
  constructor(status, problem, retryMs) {
    super(words(status, problem));
    this.status = status;
    this.problem = problem;
    this.retryMs = retryMs;
    this.again = status === 0 || status === 408 || status === 429 || status >= 500;
  }
}

// at is the address of a path of the server that this page is of, which may stand
// below a path of its own.
export const at = (path) => new URL(`.${path}`, document.baseURI);

// call sends one request with the key in a header (it never stands in a URL
// here) and returns the Response. It throws a Refusal, or the AbortError of
// options.signal.
export async function call(key, path, options = {}) {
  const headers = { Authorization: `Bearer ${key}`, Accept: "application/json", ...options.headers };
  let response;
  try {
    response = await fetch(at(path), { cache: "no-store", ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, {}, 0);
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  throw new Refusal(response.status, problem, 1000 * Number(response.headers.get("Retry-After") || 0));
}

// words turns a status and a problem document into what a person can act on.
export function words(status, problem = {}) {
  const detail = problem.detail || problem.title || "";
  switch (status) {
    case 0: return "The server does not answer.";
    case 401: return "The key was refused: it is unknown, expired or revoked. Enter another one above.";
    case 403: return `This key may not do that. ${detail}`.trim();
    case 404: return "There is no such job, or it belongs to another client.";
    case 429: return problem.code === "login_limit"
      ? "Too many refused keys came from your address."
      : "Too many live streams are open with this key. Close another tab or wait.";
    case 503: return "The server is restarting or cannot confirm a commit right now.";
  }
  const fields = (problem.errors || []).map((f) => `${f.pointer || "/"}: ${f.detail}`);
  return [detail || `The server answered ${status}.`, ...fields].join("\n");
}

// pause waits `ms`, calling tick(secondsLeft) at once and then each second.
// It rejects with the signal's reason when the signal fires.
export function pause(ms, signal, tick) {
  return new Promise((resolve, reject) => {
    const until = Date.now() + ms;
    const show = () => tick(Math.max(1, Math.ceil((until - Date.now()) / 1000)));
    const ticking = setInterval(show, 1000);
    const done = setTimeout(() => { settle(); resolve(); }, ms);
    const abort = () => { settle(); reject(signal.reason); };
    const settle = () => {
      clearInterval(ticking);
      clearTimeout(done);
      signal.removeEventListener("abort", abort);
    };
    signal.addEventListener("abort", abort);
    show();
  });
}

// backoff returns how long to wait before try n (1, 2, …): what the server
// asked for, else 1 s doubling up to 15 s.
export function backoff(refusal, n) {
  return refusal.retryMs || Math.min(15000, 500 * 2 ** n);
}

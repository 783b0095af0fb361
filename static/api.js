// Calls to the REST API, and plain words for its refusals.

// root is where the server's paths begin, whatever path of a proxy is in front of them.
export const root = import.meta.url.slice(0, import.meta.url.lastIndexOf("/static/") + 1);

// at is the address of one of the server's paths, as in at("/v1/jobs").
export const at = (path) => root + path.replace(/^\//, "");

let credential = ""; // a key or token, which session.js keeps
let onRefused = () => {};

export function useCredential(next, refused = () => {}) {
  credential = next;
  onRefused = refused;
}

// A Refusal is any answer that is not a success, and also no answer at all (status 0). code,
// detail and errors are those of the problem (protocol.md 8). `again` says that the same call may well
// succeed later; `retryMs` is what the server asked to wait, or 0. Its message is for people.
export class Refusal extends Error {
  constructor(status, problem = {}, retryMs = 0) {
    super(words(status, problem));
    Object.assign(this, { status, problem, retryMs, code: problem.code ?? "", detail: problem.detail ?? "", errors: problem.errors ?? [] });
    this.again = status === 0 || status === 408 || status === 429 || status >= 500;
  }
}

// send makes one request with the credential in a header and returns the Response. json is
// sent as the body; an anonymous request is sent without the credential. It throws a Refusal, or what ended
// the signal.
export async function send(path, { json, headers, signal, anonymous, ...init } = {}) {
  const used = anonymous ? "" : credential;
  const all = { Accept: "application/json", ...(used && { Authorization: `Bearer ${used}` }), ...headers };
  if (json !== undefined) {
    all["Content-Type"] = "application/json";
    init = { method: "POST", body: JSON.stringify(json), ...init };
  }
  let response;
  try {
    response = await fetch(at(path), { cache: "no-store", ...init, headers: all, signal });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Refusal(0);
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  if (response.status === 401 && used && used === credential) onRefused();
  throw new Refusal(response.status, problem, 1000 * Number(response.headers.get("Retry-After") || 0));
}

// call is send, for an answer in JSON; null if the answer has no body.
export async function call(path, options) {
  const response = await send(path, options);
  const text = await response.text();
  return text ? JSON.parse(text) : null;
}

// words turns a status and a problem into what a person can act on.
function words(status, problem) {
  const detail = problem.detail || problem.title || "";
  switch (status) {
    case 0: return "The server does not answer.";
    case 401: return "The key was refused: it is unknown, expired or revoked.";
    case 403: return `This key may not do that. ${detail}`.trim();
    case 404: return problem.code === "not_found" ? "It is not there, or not yours." : "The server does not know that.";
    case 503: return detail || "The server is restarting, or cannot confirm a commit right now.";
  }
  const fields = (problem.errors || []).map((f) => `${f.pointer || "/"}: ${f.detail}`);
  return [detail || `The server answered ${status}.`, ...fields].join("\n");
}

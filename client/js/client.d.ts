/** What stands for a job's id when everything of the client is watched. */
export declare const all: "all";

export type Status = "pending" | "processing" | "completed" | "failed" | "cancelled";
export type Transport = "websocket" | "sse" | "poll";

export interface ConnectOptions {
  /** http or https, without a path or with that of a proxy or of --base-path. Default: where
   * the module was loaded from, else http://localhost:3000. */
  url?: string | URL;
  /** A key: for programs. It is sent as a header, never in a URL. */
  key?: string;
  /** A token: for pages. A function is asked for one at first, and whenever the last was
   * refused or is about to end, if it has told when (as `POST /v1/tokens` does). */
  token?: string | (() => Token | Promise<Token>);
  /** How long a call is repeated while the server is not available, in ms. Default: 60000; negative: for ever. */
  giveUp?: number;
  /** Whether the tabs of a browser with the same server and credential share one connection, where they
   * can: in secure contexts with Web Locks and BroadcastChannel. Default: true. */
  share?: boolean;
  /** Times in ms that are other than usual. */
  timings?: Partial<Timings>;
  /** In the place of the global one; null: none. */
  WebSocket?: (new (url: string) => any) | null;
  fetch?: typeof fetch;
  /** For tests: chance from 0 to 1, and time. */
  random?: () => number;
  clock?: { now(): number; setTimeout(f: () => void, ms: number): unknown; clearTimeout(id: unknown): void };
}

export type Token = string | { token: string; expiresAt?: string };

export interface Timings {
  /** A transport that has brought nothing after this is obstructed. 2500 */
  firstFrame: number;
  /** A connection that is silent for this long is asked for a sign of life. 20000 */
  silence: number;
  /** How long it has to give it. 5000 */
  answer: number;
  /** The tab that has the connection is asked for a sign of life after so much silence. 5000 */
  tab: number;
  /** How long one long-poll waits. 25000 */
  poll: number;
  /** How often a better transport is tried. 30000 */
  probe: number;
  /** The first wait after a failure; it doubles. 100 */
  retryMin: number;
  /** The longest wait, unless the server asks for more. 4000 */
  retryMax: number;
  /** Of one try of a call. 30000 */
  timeout: number;
}

export interface Artifact { name: string; size: number; contentType: string; url: string }

/** A job as the server describes it; docs/protocol.md has all members. */
export interface Job {
  id: string;
  clientId: string;
  status: Status;
  queue: string | null;
  actions: unknown[] | null;
  payload?: unknown;
  metadata: Record<string, unknown> | null;
  title: string | null;
  maxAttempts: number;
  timeoutMs: number;
  priority: number;
  attempt: number;
  progress: number | null;
  message: string | null;
  step: string | null;
  result: any;
  error: string | null;
  errorMessage: string | null;
  artifacts: Artifact[];
  createdAt: string;
  retryOf: string | null;
  [member: string]: unknown;
}

/** What a submit asks for: actions (or steps), or queue and payload. */
export interface Submission {
  actions?: { type: string; [member: string]: unknown }[];
  queue?: string;
  payload?: unknown;
  maxAttempts?: number;
  timeoutMs?: number;
  runAt?: string;
  expiresInMs?: number;
  priority?: number;
  metadata?: Record<string, unknown>;
  title?: string;
  [member: string]: unknown;
}

interface Base<T extends string, D> {
  /** A cursor: `after` takes it, on any transport and at any time. */
  id: string;
  type: T;
  jobId: string;
  /** Of the job, right after the event. */
  status: Status;
  timestamp: string;
  data: D;
}

export interface Failure { error: string; errorMessage: string; attempt: number }

export type JobEvent =
  | Base<"job.created", { createdAt: string }>
  | Base<"job.started", Record<string, any>>
  | Base<"job.progress", { progress: number; message?: string; step?: string; [member: string]: any }>
  | Base<"job.log", { level: string; line: string; [member: string]: any }>
  | Base<"job.artifact", Record<string, any>>
  | Base<"job.retrying", Failure & { nextAttemptAt: string }>
  | Base<"job.completed", { completedAt: string; artifacts: Artifact[]; result: any }>
  | Base<"job.failed", Failure>
  | Base<"job.cancelled", Record<string, any>>;

/** The events right after the reader's cursor are not there. What follows begins anew: a job at
 * its first event, everything at its newest. */
export interface ResetEvent {
  id: string;
  type: "reset";
  jobId?: string;
  data: { room: string; reason: "pruned" | "epoch" | "future" | "invalid"; oldest: string; cursor: string };
}

export type WatchEvent = JobEvent | ResetEvent;

/** News about a watch's connection. `live`: history is done. `lost`: another try follows after `wait` ms. */
export type Notice =
  | { state: "connected" | "live"; transport: Transport }
  | { state: "lost"; transport: Transport; error: Error; wait: number }
  | { state: "ended" | "closed" }
  | { state: "failed"; error: unknown };

export interface WatchOptions {
  /** Gets each event. Without it, events wait for `for await`. An error that it throws ends the watch. */
  onEvent?: (event: WatchEvent) => void;
  onState?: (notice: Notice) => void;
  /** Ends the watch, with its reason as the error. */
  signal?: AbortSignal;
  /** Of what comes together, only the newest progress of each job and attempt. */
  conflate?: boolean;
  /** A cursor, such as an event's id: start right after it. */
  after?: string;
  /** Where to start without `after`. Default: a job at its first event, everything now. */
  from?: "start" | "now";
  /** End with a LostError after so many ms without success. Default: never. */
  giveUp?: number;
}

export interface Watch extends AsyncIterable<WatchEvent> {
  /** Resolves when the job has ended or the watch was closed, and rejects with what ended it. */
  readonly done: Promise<void>;
  /** The id of the last event that was given out: where to go on later. */
  readonly cursor: string;
  close(): void;
}

export interface CallOptions { signal?: AbortSignal }
/** idempotencyKey: 1 to 255 visible ASCII characters; calls with the same one make one job. Default: a new one. */
export interface MakeOptions extends CallOptions { idempotencyKey?: string }

export interface Client {
  watch(job: string, options?: WatchOptions): Watch;
  submit(job: Submission, options?: MakeOptions): Promise<Job>;
  get(id: string, options?: CallOptions): Promise<Job>;
  /** The job, once it has ended, however it did. */
  wait(id: string, options?: CallOptions & { giveUp?: number }): Promise<Job>;
  cancel(id: string, options?: CallOptions): Promise<Job>;
  /** Makes a new job from one that failed or was cancelled. */
  retry(id: string, options?: MakeOptions): Promise<Job>;
  /** Ends all watches. */
  close(): void;
}

export declare function connect(options?: ConnectOptions): Client;

/** A refusal of the server (RFC 9457). Branch on `code`; it is empty if not jobcast answered but
 * something in front of it. */
export declare class Problem extends Error {
  readonly code: string;
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly errors: { pointer: string; detail: string }[];
  /** What the server asks to wait, in ms; 0: it does not say. */
  readonly retryAfter: number;
  /** Of `conflict`: the job as it is. */
  readonly job?: Job;
  readonly [member: string]: any;
}

/** The server could not be reached for as long as the caller wanted to try; `cause` is the last error. */
export declare class LostError extends Error {}

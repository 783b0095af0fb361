#!/usr/bin/env python3
"""A worker for a queue of jobcast: Python 3 and its standard library.

    JOBCAST_URL=http://localhost:3000 JOBCAST_KEY=jc_... python3 worker.py QUEUE

It runs one job after the other and greets the payload's "name". More members
shape the work, all of them optional: "steps" and "seconds" (3 steps of 1 s),
"fail": true (the attempt fails) and "retry": false (it is not tried again).

On SIGTERM or Ctrl-C it takes no more jobs. The one at hand may go on for
JOBCAST_GRACE seconds (10), then it is handed back to be tried again. A second
signal ends the worker at once; the server notices when the lease runs out.
"""
import json, os, random, signal, sys, time, urllib.error, urllib.request
from http.client import HTTPException

if len(sys.argv) != 2 or not os.environ.get("JOBCAST_URL") or not os.environ.get("JOBCAST_KEY"):
    print("usage: JOBCAST_URL=http://... JOBCAST_KEY=jc_... worker.py QUEUE", file=sys.stderr)
    sys.exit(2)
URL, KEY, QUEUE = os.environ["JOBCAST_URL"].rstrip("/"), os.environ["JOBCAST_KEY"].strip("\ufeff \t\r\n"), sys.argv[1]
GRACE = float(os.environ.get("JOBCAST_GRACE") or 10)
idle = True      # no job is at hand: a signal may end the program where it stands
deadline = None  # set by the first signal: until then the job at hand may go on

class Refused(Exception):
    """The server has decided; asking again would change nothing."""
    def __init__(self, status, detail):
        super().__init__(f"the server refuses: {status} {detail}")
        self.status = status
class InvalidResult(Exception): """The server refuses what we say of the job's end."""; retry = False
class Lost(Exception): """The job is no longer ours: cancelled, out of time, or its lease ran out."""
class Interrupted(Exception): """The worker stops before the job is done."""
class BadPayload(Exception):
    def __init__(self, text, retry):
        super().__init__(text)
        self.retry = retry

def say(text):
    print(f"worker: {text}", file=sys.stderr, flush=True)

def call(method, path, body, lease="", kind="application/json"):
    """Makes a call and returns the answer's JSON. While the server cannot be
    reached, or answers 5xx, it tries again: a report may arrive twice, and
    `complete` and `fail` may be repeated with the same lease."""
    headers = {"Authorization": f"Bearer {KEY}", "X-Lease-Token": lease, "Content-Type": kind}
    wait = 0.5
    while True:
        asked = ""
        try:
            request = urllib.request.Request(URL + path, body, headers, method=method)
            with urllib.request.urlopen(request, timeout=40) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as e:
            text, asked, trouble = e.read(), e.headers.get("Retry-After", ""), f"status {e.code}"
            if e.code < 500 and e.code not in (408, 429):
                problem = json.loads(text) if text.startswith(b"{") else {}
                if problem.get("code") == "lease_lost":
                    raise Lost(f"no longer ours, it is {problem.get('jobStatus')}") from None
                raise Refused(e.code, problem.get("detail", "")) from None
        except (OSError, HTTPException, ValueError) as e:
            trouble = getattr(e, "reason", type(e).__name__)  # the text of a ValueError may hold the key
        pause = max(wait * random.uniform(0.5, 1.5), int(asked) if asked.isdigit() else 0)
        if deadline and time.monotonic() + pause > deadline:
            raise Lost(f"given up, because the worker stops: {trouble}")
        say(f"{trouble}; trying again in {pause:.1f} s")
        time.sleep(pause)
        wait = min(2 * wait, 15)

def work(job, tell, upload):
    """The work itself. Its return value is the job's result; an exception fails
    the attempt. Each report renews the lease (30 s, if the server was not told
    otherwise); who is silent for longer calls .../extend in between."""
    payload = job["payload"] if isinstance(job["payload"], dict) else {}
    steps = int(payload.get("steps", 3))
    for step in range(1, steps + 1):
        if deadline and time.monotonic() > deadline:
            raise Interrupted("the worker stops")
        time.sleep(payload.get("seconds", 1))
        tell("progress", {"progress": 100 * step // steps, "message": f"step {step} of {steps}"})
    if payload.get("fail"):
        raise BadPayload("the payload asks for a failure", payload.get("retry", True))
    greeting = f"Hello, {payload.get('name', 'world')}!"
    upload("greeting.txt", "text/plain; charset=utf-8", f"{greeting}\n".encode())
    return {"greeting": greeting, "attempt": job["attempt"]}

def failure(e):
    return {"error": type(e).__name__, "errorMessage": str(e)[:2000], "retry": getattr(e, "retry", True)}

def run(job):
    """Runs one claimed job and tells the server how it ended."""
    path, lease = f"/v1/jobs/{job['id']}", job["lease"]["token"]
    def tell(what, body):
        call("POST", f"{path}/{what}", json.dumps(body).encode(), lease)
    def end(what, body):
        try:
            tell(what, body)
        except Refused as e:
            if e.status in (401, 403):
                raise
            raise InvalidResult(str(e)) from None
    def upload(name, kind, content):
        call("PUT", f"{path}/artifacts/{name}", content, lease, kind)
    say(f"job {job['id']}: attempt {job['attempt']} begins")
    try:
        try:
            end("complete", {"result": work(job, tell, upload)})
            say(f"job {job['id']}: completed")
        except Lost:
            raise
        except Exception as e:
            say(f"job {job['id']}: failed: {e}")
            try:
                end("fail", failure(e))
            except InvalidResult as e:
                tell("fail", failure(e))
    except Lost as e:
        say(f"job {job['id']}: {e}")

def on_signal(number, _frame):
    global deadline
    signal.signal(number, signal.SIG_DFL)
    deadline = deadline or time.monotonic() + GRACE
    if idle:
        sys.exit(0)

signal.signal(signal.SIGTERM, on_signal)
signal.signal(signal.SIGINT, on_signal)
claim = json.dumps({"queues": [QUEUE], "wait": 30}).encode()
try:
    while not deadline:
        jobs = call("POST", "/v1/workers/claim", claim)["jobs"]
        if not jobs:
            time.sleep(1)  # a server that goes down does not let us wait
        idle = False
        for job in jobs:
            run(job)
        idle = True
except Refused as e:
    sys.exit(f"worker: {e}")

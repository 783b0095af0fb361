"""An application with python-socketio. It prints a JSON array for each thing it hears.

    socketio-python.py sync|asyncio URL OPTIONS

OPTIONS is a JSON object of arguments for connect(), which refers to the namespace
/jobs. Handlers take one argument, as applications write them. A job that is heard to
end is left. Standard input says what to do, a JSON array in each line: ["subscribe",
{...}], ["unsubscribe", {...}] or ["disconnect"].
"""

import asyncio
import json
import sys
import threading

import socketio

NAMESPACE = "/jobs"
OVER = ("job.completed", "job.failed", "job.cancelled")
lock = threading.Lock()


def say(*what):
    with lock:
        print(json.dumps(what), flush=True)


def commands():
    return (json.loads(line) for line in sys.stdin)


def run(url, options):
    sio = socketio.Client(reconnection_delay=0.05, reconnection_delay_max=0.2, randomization_factor=0)

    def on(name):
        return sio.on(name, namespace=NAMESPACE)

    @on("connect")
    def connect():
        say("connect")

    @on("disconnect")
    def disconnect():
        say("disconnect")

    @on("connect_error")
    def connect_error(data):
        say("connect_error", data)

    def listen(name):
        @on(name)
        def hear(data):
            say(name, data)

    for name in ("connected", "subscribed", "unsubscribed", "live", "end", "error"):
        listen(name)

    @on("ping")
    def ping(data):
        sio.emit("pong", namespace=NAMESPACE)

    @on("job.event")
    def job_event(event):
        say("job.event", event)
        if event["type"] in OVER:
            sio.emit("unsubscribe", {"jobId": event["jobId"]}, namespace=NAMESPACE)

    try:
        sio.connect(url, namespaces=[NAMESPACE], **options)
    except socketio.exceptions.ConnectionError as error:
        say("refused", str(error))
        return
    for command, *arguments in commands():
        if command == "disconnect":
            break
        answer = sio.call(command, *arguments, namespace=NAMESPACE, timeout=20)
        say("answer", answer)
    sio.disconnect()
    say("bye")


async def arun(url, options):
    sio = socketio.AsyncClient(reconnection_delay=0.05, reconnection_delay_max=0.2, randomization_factor=0)

    def on(name):
        return sio.on(name, namespace=NAMESPACE)

    @on("connect")
    async def connect():
        say("connect")

    @on("disconnect")
    async def disconnect():
        say("disconnect")

    @on("connect_error")
    async def connect_error(data):
        say("connect_error", data)

    def listen(name):
        @on(name)
        async def hear(data):
            say(name, data)

    for name in ("connected", "subscribed", "unsubscribed", "live", "end", "error"):
        listen(name)

    @on("ping")
    async def ping(data):
        await sio.emit("pong", namespace=NAMESPACE)

    @on("job.event")
    async def job_event(event):
        say("job.event", event)
        if event["type"] in OVER:
            await sio.emit("unsubscribe", {"jobId": event["jobId"]}, namespace=NAMESPACE)

    try:
        await sio.connect(url, namespaces=[NAMESPACE], **options)
    except socketio.exceptions.ConnectionError as error:
        say("refused", str(error))
        return
    loop = asyncio.get_running_loop()
    lines = commands()
    while True:
        command, *arguments = await loop.run_in_executor(None, next, lines, ["disconnect"])
        if command == "disconnect":
            break
        say("answer", await sio.call(command, *arguments, namespace=NAMESPACE, timeout=20))
    await sio.disconnect()
    say("bye")


if __name__ == "__main__":
    how, url, options = sys.argv[1:]
    if how == "sync":
        run(url, json.loads(options))
    else:
        asyncio.run(arun(url, json.loads(options)))

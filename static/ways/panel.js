// A panel shows one follower of a job: its connection, its progress, its events.

// Beyond this many lines the oldest go, so that a tab left open stays small.
const maxLines = 500;

export class Panel {
  #root;
  #state = "idle";

  // root is an empty element; title and about are shown as text.
  constructor(root, title, about) {
    this.#root = root;
    root.append(document.getElementById("panel").content.cloneNode(true));
    this.#part("h3").textContent = title;
    this.#part("h3").id = `${root.id}-title`;
    this.#part(".about").textContent = about;
    this.#part("progress").setAttribute("aria-label", `Progress seen by ${title}`);
    this.#part(".events").setAttribute("aria-label", `Events seen by ${title}`);
    this.clear();
  }

  // cursor is the id to resume from; empty before the first event.
  cursor = "";

  // onevent is called with each event, after it was shown.
  onevent = () => {};

  clear() {
    this.cursor = "";
    delete this.#root.dataset.outcome;
    this.#part(".cursor").textContent = "none yet";
    this.#part(".events").replaceChildren();
    this.#part(".events").hidden = true;
    this.#part(".empty").hidden = false;
    this.#part(".empty").textContent = "No job yet. Submit one above and its events appear here.";
    this.#progress(0, "");
    this.notice("");
    this.state("idle");
  }

  // state is one of idle, connecting, live, reconnecting, ended, stopped.
  state(name) {
    if (name === this.#state) return;
    this.#state = name;
    this.#root.dataset.state = name;
    this.#part(".state").textContent = name;
    if (name !== "idle") this.#part(".empty").textContent = "No event yet.";
  }

  // notice shows a text, or nothing for "". kind is "", "warn" or "bad".
  notice(text, kind = "") {
    const line = this.#part(".notice");
    line.className = `notice ${kind}`;
    line.hidden = text === "";
    this.#part(".notice .text").textContent = text;
    this.countdown("");
  }

  // countdown shows a text that changes each second beside the notice; screen
  // readers are not told of it.
  countdown(text) { this.#part(".countdown").textContent = text; }

  at(cursor) {
    this.cursor = cursor;
    this.#part(".cursor").textContent = cursor;
  }

  event(event) {
    this.at(event.id);
    const data = event.data;
    switch (event.type) {
      case "job.progress": this.#progress(data.progress, data.message || ""); break;
      case "job.completed": this.#progress(100, "Completed"); break;
      case "job.failed": this.#progress(null, `${data.error}: ${data.errorMessage}`); break;
      case "job.cancelled": this.#progress(null, "Cancelled"); break;
      case "job.retrying": this.#progress(0, `Attempt ${data.attempt} ended: ${data.errorMessage}`); break;
    }
    if (["completed", "failed", "cancelled"].includes(event.status)) this.#root.dataset.outcome = event.status;
    this.#line(event);
    this.onevent(event);
  }

  // null leaves the bar where it is.
  #progress(percent, message) {
    if (percent !== null) {
      this.#part("progress").value = percent;
      this.#part(".percent").textContent = `${Math.round(percent)} %`;
    }
    this.#part(".message").textContent = message;
  }

  #line(event) {
    const list = this.#part(".events");
    const stay = list.scrollTop + list.clientHeight < list.scrollHeight - 8; // the reader scrolled up
    const item = document.createElement("li");
    const time = document.createElement("time");
    time.dateTime = event.timestamp;
    time.textContent = clock(new Date(event.timestamp));
    const type = document.createElement("b");
    type.textContent = event.type;
    item.append(time, type);
    const text = summary(event);
    if (text) item.append(Object.assign(document.createElement("span"), { textContent: text }));
    list.append(item);
    if (list.childElementCount > maxLines) list.firstElementChild.remove();
    list.hidden = false;
    this.#part(".empty").hidden = true;
    if (!stay) list.scrollTop = list.scrollHeight;
  }

  #part(selector) { return this.#root.querySelector(selector); }
}

function clock(date) {
  const two = (n) => String(n).padStart(2, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

function summary({ type, data }) {
  switch (type) {
    case "job.started": return `attempt ${data.attempt}`;
    case "job.progress": return `${data.progress} % ${data.message || ""}`.trim();
    case "job.failed": return `${data.error}: ${data.errorMessage}`;
    case "job.retrying": return `${data.error}: ${data.errorMessage}`;
    case "job.log": return `${data.level}: ${data.line}`;
    case "job.artifact": return `${data.name}, ${data.size} bytes`;
    default: return "";
  }
}

// A page that starts a job and shows how it goes. The address of the server stands here; the
// key comes in the fragment, page/#key=jc_…, which no server sees. A page for the world gets a
// token from its own backend instead, and has that backend start the jobs.

import { connect, Problem } from "http://localhost:3000/client.js";

const key = new URLSearchParams(location.hash.slice(1)).get("key");
const jobcast = connect({ key });
const [form, cancel, bar, output, connection, list] = ["form", "#cancel", "progress", "output", "#connection", "ol"].map((s) => document.querySelector(s));
let id = sessionStorage.getItem("job");

form.onsubmit = async (submit) => {
  submit.preventDefault();
  try {
    ({ id } = await jobcast.submit({ actions: Array(4).fill({ type: "wait", ms: 500 }) }));
    sessionStorage.setItem("job", id); // a reload goes on with it
    await follow();
  } catch (error) {
    output.value = error.message;
  }
};

cancel.onclick = () => jobcast.cancel(id).catch((error) => { output.value = error.message; });

async function follow() {
  list.replaceChildren();
  bar.value = 0;
  cancel.disabled = false;
  try {
    for await (const event of jobcast.watch(id, { onState: show })) {
      if (event.type === "reset") list.replaceChildren(); // it is told anew
      if (event.type === "job.progress") bar.value = event.data.progress;
      if (event.status) output.value = event.status;
      list.append(Object.assign(document.createElement("li"), { textContent: `${event.type} ${event.data.message ?? ""}` }));
    }
  } catch (error) {
    if (!(error instanceof Problem && error.code === "not_found")) throw error;
    sessionStorage.removeItem("job"); // it was deleted
  } finally {
    cancel.disabled = true;
  }
}

function show({ state, transport, wait }) {
  connection.textContent = state === "lost" ? `The connection is lost; next try in ${Math.ceil(wait / 1000)} s.` : `${state} ${transport ?? ""}`;
}

if (id) follow();

import { connect } from "jobcast";
import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { useJob } from "./useJob.js";

// One client for the whole page. The key comes in the fragment, /#key=jc_…, which no server sees.
// A page for the world gets a token from its own backend instead.
const jobcast = connect({ url: "http://localhost:3000", key: new URLSearchParams(location.hash.slice(1)).get("key") });

function Job({ id }) {
  const { events, status, progress, connection, error } = useJob(jobcast, id);
  const over = ["completed", "failed", "cancelled"].includes(status);
  return (
    <li>
      <progress max="100" value={over ? 100 : progress} /> <b>{status}</b> <small>{events.length} events, {connection} {error?.message}</small>{" "}
      <button disabled={over} onClick={() => jobcast.cancel(id).catch(() => {})}>Cancel</button>
    </li>
  );
}

function Jobs() {
  const [ids, setIds] = useState([]);
  const start = async () => {
    const { id } = await jobcast.submit({ actions: Array(4).fill({ type: "wait", ms: 500 }) });
    setIds((ids) => [...ids, id]);
  };
  return (
    <>
      <h1>Jobs, live</h1>
      <button id="start" onClick={start}>Start a job</button>
      <ul>{ids.map((id) => <Job key={id} id={id} />)}</ul>
    </>
  );
}

createRoot(document.getElementById("root")).render(<StrictMode><Jobs /></StrictMode>);

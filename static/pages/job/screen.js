// What the browser of a job shows, live. It is asked for by fetch, because an <img> would need
// the credential in its address, and only while somebody can see it.

import { send } from "../../api.js";
import { html, useEffect, useRef, useState } from "../../ui/html.js";
import { pictures } from "./multipart.js";

const again = 1_000; // ms until a job without a browser is asked once more

export function Screen({ id }) {
  const canvas = useRef(null);
  const [state, setState] = useState("waiting"); // or live, over
  const seen = useSeen(canvas);
  useEffect(() => {
    if (!seen) return undefined;
    const controller = new AbortController();
    look(id, canvas, setState, controller.signal).catch(() => setState("over"));
    return () => controller.abort();
  }, [id, seen]);
  return html`<figure class=${`screen ${state}`}>
    <canvas ref=${canvas} width="1280" height="800" role="img" aria-label="What the browser of this job shows now"></canvas>
    <figcaption role="status">${{ waiting: "Waiting for a picture of the browser.", live: "Live", over: "The picture has ended." }[state]}</figcaption>
  </figure>`;
}

async function look(id, canvas, setState, signal) {
  while (!signal.aborted) {
    try {
      const response = await send(`/v1/jobs/${id}/screen`, { headers: { Accept: "*/*" }, signal });
      for await (const picture of pictures(response)) {
        await draw(canvas.current, picture);
        if (signal.aborted) return;
        setState("live");
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error.status && error.status !== 409 && !error.again) throw error;
    }
    if (!signal.aborted) setState("waiting");
    await new Promise((resolve) => setTimeout(resolve, again));
  }
}

async function draw(canvas, picture) {
  const bitmap = await createImageBitmap(new Blob([picture], { type: "image/jpeg" }));
  if (canvas) {
    if (canvas.width !== bitmap.width) canvas.width = bitmap.width;
    if (canvas.height !== bitmap.height) canvas.height = bitmap.height;
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
  }
  bitmap.close();
}

// useSeen tells whether an element is in view, on a page that is shown.
function useSeen(ref) {
  const [seen, setSeen] = useState(false);
  useEffect(() => {
    let near = true;
    const tell = () => setSeen(near && !document.hidden);
    const observer = new IntersectionObserver((entries) => { near = entries.at(-1).isIntersecting; tell(); });
    observer.observe(ref.current);
    document.addEventListener("visibilitychange", tell);
    return () => {
      observer.disconnect();
      document.removeEventListener("visibilitychange", tell);
    };
  }, []);
  return seen;
}

// Of a long list, the rows that are in view: the page scrolls, and only they are in the document.

import { useEffect, useLayoutEffect, useRef, useState } from "./html.js";

const around = 6; // rows beyond the edges

// useWindow returns [first, last] of `count` rows of `height` px in the element of ref; last may be
// -1. It says so again whenever the page is scrolled by more than a few rows.
export function useWindow(ref, count, height) {
  const [range, setRange] = useState([0, 40]);
  const look = useRef(null);
  look.current = () => {
    if (!ref.current) return;
    const top = ref.current.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(-top / height) - around);
    const last = Math.ceil((innerHeight - top) / height) + around;
    setRange((was) => (was[0] === first && was[1] === last ? was : [first, last]));
  };
  useEffect(() => {
    let frame = 0;
    const moved = () => { frame ||= requestAnimationFrame(() => { frame = 0; look.current(); }); };
    addEventListener("scroll", moved, { passive: true });
    addEventListener("resize", moved);
    return () => {
      cancelAnimationFrame(frame);
      removeEventListener("scroll", moved);
      removeEventListener("resize", moved);
    };
  }, []);
  useLayoutEffect(() => look.current(), [count, height]);
  return [Math.min(range[0], Math.max(0, count - 1)), Math.min(range[1], count - 1)];
}

// useNarrow says whether there is no room for a table.
export function useNarrow() {
  const [narrow, setNarrow] = useState(() => matchMedia(query).matches);
  useEffect(() => {
    const list = matchMedia(query);
    const changed = () => setNarrow(list.matches);
    list.addEventListener("change", changed);
    return () => list.removeEventListener("change", changed);
  }, []);
  return narrow;
}
const query = "(max-width: 52rem)";

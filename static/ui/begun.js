// What lives as long as a component is shown.

import { useEffect, useRef } from "./html.js";

// useBegun makes something with begin() and end(key), anew for each key, and ends it with the component.
export function useBegun(key, make) {
  const held = useRef({ key: null, it: null });
  if (held.current.key !== key) held.current = { key, it: make() };
  const { it } = held.current;
  useEffect(() => {
    it.begin();
    return () => it.end(key);
  }, [it]);
  return it;
}

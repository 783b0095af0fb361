// A page's own style sheet, for its module to wait for, so that nothing is shown without it.

const loaded = new Map();

export function sheet(url) {
  const { href } = new URL(url);
  if (!loaded.has(href)) {
    loaded.set(href, new Promise((done) => {
      const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href, onload: done, onerror: done });
      document.head.append(link);
    }));
  }
  return loaded.get(href);
}

// What somebody may begin with.

export const samples = [
  { title: "Four waits", about: "Runs on any server and shows progress.", spec: { title: "Four waits", actions: [1, 2, 3, 4].map(() => ({ type: "wait", ms: 1_000 })) } },
  { title: "An HTTP request", about: "Its answer is kept as a file.", needs: "http", spec: { title: "Example page", actions: [{ type: "http", url: "https://example.com/", saveAs: "example.txt" }] } },
  {
    title: "A picture of a page", about: "Opens a page in a browser, reads its heading, takes a picture.", needs: "navigate",
    spec: {
      title: "Picture of a page",
      actions: [{ type: "navigate", url: "https://example.com/" }, { type: "extract", selector: "h1", name: "heading" }, { type: "screenshot", name: "page", fullPage: true }],
    },
  },
  {
    title: "A recording", about: "As Chrome's Recorder exports it as JSON.", needs: "navigate",
    spec: {
      title: "Recorded: follow a link", timeout: 10_000,
      steps: [
        { type: "setViewport", width: 1280, height: 800, deviceScaleFactor: 1, isMobile: false, hasTouch: false, isLandscape: false },
        { type: "navigate", url: "https://example.com/", assertedEvents: [{ type: "navigation" }] },
        { type: "click", selectors: [["aria/Learn more"], ["a"]], offsetX: 10, offsetY: 5, assertedEvents: [{ type: "navigation" }] },
      ],
    },
  },
  { title: "A worker's job", about: "Waits for a program of yours.", spec: { title: "Letter", queue: "sample", payload: { letter: "How are you?" } } },
];

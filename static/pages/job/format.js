// How this page writes times, sizes and actions.

const clocks = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hour12: false });

export const clock = (at) => clocks.format(new Date(at));

export function size(bytes) {
  if (bytes < 1_000) return `${bytes} B`;
  for (const [unit, of] of [["kB", 1e3], ["MB", 1e6]]) if (bytes < of * 1_000) return `${(bytes / of).toFixed(bytes < of * 10 ? 1 : 0)} ${unit}`;
  return `${(bytes / 1e9).toFixed(1)} GB`;
}

// about says in a few words what an action is about.
export function about(action) {
  const first = (selectors) => (Array.isArray(selectors?.[0]) ? selectors[0].join(" › ") : selectors?.[0]);
  const members = action.type === "customStep" ? action.parameters ?? {} : action;
  const what = members.url ?? members.selector ?? first(members.selectors) ?? members.name ?? members.key ?? members.pattern ?? members.expression;
  const method = action.type === "http" ? `${action.method ?? "GET"} ` : "";
  if (what) return method + what;
  return action.type === "wait" ? `${action.ms} ms` : "";
}

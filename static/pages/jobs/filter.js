// The filter of the list, as the address has it: ?state=failed&queue=mail&q=text&from=24h.

// spans are times that move along: `from=24h` is always the last day.
export const spans = { "1h": "Last hour", "24h": "Last 24 hours", "7d": "Last 7 days" };
const units = { m: 60_000, h: 3_600_000, d: 86_400_000 };

export const names = ["state", "queue", "q", "from", "to"];

export function read(query) {
  return Object.fromEntries(names.map((name) => [name, (query.get(name) ?? "").trim()]));
}

// asked is the filter as the API takes it, with times in place of spans.
export function asked(filter) {
  return { ...filter, from: moment(filter.from), to: moment(filter.to) };
}

function moment(text) {
  const [, n, unit] = /^(\d{1,5})([mhd])$/.exec(text) ?? [];
  if (unit) return new Date(Date.now() - n * units[unit]).toISOString();
  const time = Date.parse(text);
  return Number.isNaN(time) ? text : new Date(time).toISOString(); // what is no time the server refuses, and says so
}

// local is a time as an input of the type datetime-local has it.
export function local(text) {
  const time = Date.parse(moment(text));
  if (!text || Number.isNaN(time)) return "";
  const date = new Date(time);
  return new Date(time - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

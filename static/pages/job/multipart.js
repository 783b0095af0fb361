// Pictures of a multipart/x-mixed-replace answer, as bytes.

const most = 8 << 20; // bytes of one picture; the server's are far smaller
const bytes = (text) => new TextEncoder().encode(text);

// pictures yields each picture once the boundary after it is here.
export async function* pictures(response) {
  const [, boundary] = /boundary="?([^";]+)/.exec(response.headers.get("Content-Type") ?? "") ?? [];
  if (!boundary) throw new Error("The answer is no live picture.");
  const mark = bytes(`\r\n--${boundary}`), gap = bytes("\r\n\r\n");
  const reader = response.body.getReader();
  let rest = bytes("\r\n"); // the first boundary has no line before it
  let start = -1; // of the picture that is being read
  let looked = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    rest = joined(rest, value);
    for (;;) {
      const wanted = start < 0 ? gap : mark;
      const at = find(rest, wanted, Math.max(looked, start, 0));
      if (at < 0) {
        looked = Math.max(0, rest.length - wanted.length);
        break;
      }
      if (start < 0) start = looked = at + gap.length;
      else {
        yield rest.slice(start, at);
        rest = rest.slice(at);
        start = -1;
        looked = 0;
      }
    }
    if (rest.length > most) throw new Error("The live picture is too large.");
  }
}

function joined(a, b) {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

function find(all, wanted, from) {
  next: for (let i = all.indexOf(wanted[0], from); i >= 0 && i <= all.length - wanted.length; i = all.indexOf(wanted[0], i + 1)) {
    for (let j = 1; j < wanted.length; j++) if (all[i + j] !== wanted[j]) continue next;
    return i;
  }
  return -1;
}

// When to try again, and waiting for it.

// pause waits `ms`, calling tick(secondsLeft) at once and then each second.
// It rejects with the signal's reason when the signal fires.
export function pause(ms, signal, tick) {
  return new Promise((resolve, reject) => {
    const until = Date.now() + ms;
    const show = () => tick(Math.max(1, Math.ceil((until - Date.now()) / 1000)));
    const ticking = setInterval(show, 1000);
    const done = setTimeout(() => { settle(); resolve(); }, ms);
    const abort = () => { settle(); reject(signal.reason); };
    const settle = () => {
      clearInterval(ticking);
      clearTimeout(done);
      signal.removeEventListener("abort", abort);
    };
    signal.addEventListener("abort", abort);
    show();
  });
}

// backoff returns how long to wait before try n (1, 2, …): what the server
// asked for, else 1 s doubling up to 15 s.
export function backoff(refusal, n) {
  return refusal.retryMs || Math.min(15000, 500 * 2 ** n);
}

/** Calls back that often a second, that many times. Catches up in small bursts: a timer is no finer than a millisecond. */
export async function paced(perSecond: number, times: number, call: (n: number) => void): Promise<void> {
  const begin = performance.now();
  for (let n = 0; n < times; ) {
    const due = Math.min(times, Math.floor(((performance.now() - begin) * perSecond) / 1000) + 1);
    while (n < due) call(n++);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

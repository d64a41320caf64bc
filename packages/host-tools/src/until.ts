/** Between two looks: more each time, as a look may take a lock that all control groups share. */
const stepMinMs = 2;
const stepMaxMs = 20;

/** Polls until it is so; false when the time is over first. */
export async function until(timeoutMs: number, condition: () => boolean | Promise<boolean>): Promise<boolean> {
  const deadline = Date.now() + timeoutMs;
  for (let stepMs = stepMinMs; ; stepMs = Math.min(stepMaxMs, 1.5 * stepMs)) {
    if (await condition()) return true;
    if (Date.now() > deadline) return false;
    await new Promise((resolve) => setTimeout(resolve, stepMs));
  }
}

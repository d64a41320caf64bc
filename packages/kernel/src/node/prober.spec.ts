import { type Probe, systemClock } from '@cloudos/sdk';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Prober } from './prober.ts';

const probe = (more: Partial<Probe> = {}): Probe => ({
  check: { kind: 'tcp', port: 80 },
  initialDelayMs: 0,
  periodMs: 1_000,
  timeoutMs: 100,
  successThreshold: 1,
  failureThreshold: 3,
  ...more,
});

/** Runs a prober against a script of results by time; returns what it reported, with times. */
async function run(
  template: ConstructorParameters<typeof Prober>[0]['template'],
  ok: (now: number) => boolean,
  untilMs: number,
  ready = false,
) {
  const startedAt = Date.now();
  const now = () => Date.now() - startedAt;
  const reports: string[] = [];
  const prober = new Prober({
    template,
    clock: systemClock,
    ready,
    check: async () => ({ ok: ok(now()), message: 'told' }),
    report: (kind, healthy) => reports.push(`${now()} ${kind} ${healthy ? 'healthy' : 'unhealthy'}`),
  });
  prober.start();
  await vi.advanceTimersByTimeAsync(untilMs);
  prober.stop();
  return reports;
}

beforeEach(() => void vi.useFakeTimers({ now: 0 }));
afterEach(() => void vi.useRealTimers());

describe('a prober', () => {
  it('reports readiness when it begins, and when it ends after as many failures as the threshold', async () => {
    const reports = await run({ readiness: probe() }, (now) => now >= 2_000 && now < 5_000, 9_500);
    expect(reports).toEqual(['2000 readiness healthy', '7000 readiness unhealthy']);
  });

  it('waits for the startup probe before it looks at the others', async () => {
    const template = { startup: probe({ failureThreshold: 10 }), readiness: probe(), liveness: probe() };
    const reports = await run(template, (now) => now >= 3_000, 4_500);
    expect(reports).toEqual(['3000 startup healthy', '3000 readiness healthy']);
  });

  it('reports a liveness that is lost, once', async () => {
    const reports = await run({ liveness: probe({ failureThreshold: 2 }) }, () => false, 5_500);
    expect(reports).toEqual(['1000 liveness unhealthy']);
  });

  it('does not repeat what the log says of an adopted guest', async () => {
    expect(await run({ readiness: probe() }, () => true, 3_500, true)).toEqual([]);
    expect(await run({ readiness: probe() }, () => false, 3_500, true)).toEqual(['2000 readiness unhealthy']);
  });

  it('asks nothing of a guest that is held, and is ready again by its probe alone, however short that was', async () => {
    const reports: string[] = [];
    let asked = 0;
    const prober = new Prober({
      template: { readiness: probe(), liveness: probe({ failureThreshold: 1 }) },
      clock: systemClock,
      check: async () => ({ ok: true, message: String(asked++) }),
      report: (kind, healthy) => reports.push(`${Date.now()} ${kind} ${healthy ? 'healthy' : 'unhealthy'}`),
    });
    prober.start();
    await vi.advanceTimersByTimeAsync(1_500);
    prober.hold();
    const before = asked;
    await vi.advanceTimersByTimeAsync(5_000);
    expect(asked).toBe(before);
    prober.release();
    await vi.advanceTimersByTimeAsync(1_000);
    prober.hold();
    prober.release();
    await vi.advanceTimersByTimeAsync(2_000);
    prober.stop();
    expect(reports).toEqual(['0 readiness healthy', '7000 readiness healthy', '8000 readiness healthy']);
  });
});

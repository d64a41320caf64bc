import { type GuestContainerStatus, guestTemplate, type Probe, systemClock } from '@cloudos/sdk';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { PodWatch, type PodWatchOptions } from './pod-watch.ts';

beforeEach(() => void vi.useFakeTimers({ now: 0 }));
afterEach(() => void vi.useRealTimers());

const probe = { check: { kind: 'tcp', port: 80 }, periodMs: 1_000, failureThreshold: 2 } as unknown as Probe;
const exit = { exitCode: 3, signal: null, reason: 'exited' } as const;
const waiting = (restarts: number): GuestContainerStatus => ({
  name: 'b',
  state: 'waiting',
  restarts,
  exit,
  backOffMs: 1_000,
});
const runs = (restarts: number): GuestContainerStatus => ({ name: 'b', state: 'running', restarts, exit });

/** A guest of two containers, and what its watch records and reports, one line each. */
function watched(b: object = {}, more: Partial<PodWatchOptions> & { readonly first?: object } = {}) {
  const said: string[] = [];
  const template = guestTemplate.parse({
    image: 'i',
    requests: {},
    limits: {},
    container: 'a',
    containers: [{ name: 'b', image: 'i', ...b }],
    ...more.first,
  });
  let healthy = true;
  const pod = new PodWatch({
    about: { instance: 'p', node: 'n' },
    attempt: 1,
    template,
    clock: systemClock,
    ready: false,
    known: {},
    check: async () => ({ ok: healthy, message: 'told' }),
    end: async (container) => void said.push(`end ${container}`),
    report: (kind, ok, reason) => said.push(`${kind} ${ok}${ok ? '' : `: ${reason}`}`),
    record: ({ type, data }) => {
      const { restarts, message, backOffMs } = data as Record<string, unknown>;
      said.push([type, restarts, message, backOffMs].filter((each) => each !== undefined).join(' '));
    },
    warn: (message) => said.push(message),
    ...more,
  });
  const turn = (now: boolean) => {
    healthy = now;
  };
  return { pod, said, turn, take: () => said.splice(0) };
}

describe('a guest of several containers', () => {
  it('is ready when all of them run, and not while one waits to be run again', () => {
    const { pod, take } = watched();
    pod.start();
    expect(take()).toEqual(['readiness true']);
    pod.changed(waiting(0));
    expect(take()).toEqual(['GuestContainerExited 0 1000', 'readiness false: container b has ended']);
    pod.changed(runs(1));
    expect(take()).toEqual(['GuestContainerStarted 1', 'readiness true']);
  });

  it('tells nothing twice, and what it has missed', () => {
    const { pod, take } = watched();
    pod.start();
    take();
    for (const _ of [1, 2]) pod.changed(waiting(2));
    expect(take()).toEqual(['GuestContainerExited 2 1000', 'readiness false: container b has ended']);
    for (const old of [waiting(0), runs(1), waiting(1), runs(2)]) pod.changed(old);
    expect(take()).toEqual([]);
    pod.changed(runs(5));
    expect(take()).toEqual(['GuestContainerExited 4', 'GuestContainerStarted 5', 'readiness true']);
    pod.changed(runs(6));
    expect(take()).toEqual(['GuestContainerExited 5', 'GuestContainerStarted 6']);
  });

  it('goes on from what the log says of a guest that was adopted', () => {
    const { pod, take } = watched({ readiness: probe }, { ready: true, known: { b: { running: true, restarts: 3 } } });
    pod.start();
    pod.changed(runs(3));
    expect(take()).toEqual([]);
    pod.changed(waiting(3));
    expect(take()).toEqual(['GuestContainerExited 3 1000', 'readiness false: container b has ended']);
  });

  it('is ready when the readiness probes of all that have one succeed', async () => {
    const { pod, take, turn } = watched({ readiness: probe }, { first: { readiness: probe } });
    turn(false);
    pod.start();
    pod.first('readiness', true, 'told');
    await vi.advanceTimersByTimeAsync(2_500);
    expect(take()).toEqual([]);
    turn(true);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(take()).toEqual(['readiness true']);
    pod.first('readiness', false, 'no answer');
    expect(take()).toEqual(['readiness false: no answer']);
    pod.stop();
  });

  it('ends a container whose liveness probe fails, once, and says why when it has ended', async () => {
    const { pod, take, turn } = watched({ liveness: probe });
    pod.start();
    turn(false);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(take()).toEqual(['readiness true', 'end b']);
    pod.changed(waiting(0));
    const why = 'container b: liveness probe: told';
    expect(take()).toEqual([`GuestContainerExited 0 ${why} 1000`, 'readiness false: container b has ended']);
    turn(true);
    pod.changed(runs(1));
    await vi.advanceTimersByTimeAsync(10_000);
    expect(take()).toEqual(['GuestContainerStarted 1', 'readiness true']);
    pod.stop();
  });

  it('waits for the startup probe of a container before its others, and ends it when that fails', async () => {
    const { pod, take, turn } = watched({ startup: probe, liveness: probe });
    turn(false);
    pod.start();
    await vi.advanceTimersByTimeAsync(1_500);
    expect(take()).toEqual(['end b']);
    pod.changed(waiting(0));
    turn(true);
    pod.changed(runs(1));
    await vi.advanceTimersByTimeAsync(500);
    expect(take()).toEqual([
      'GuestContainerExited 0 container b: startup probe: told 1000',
      'GuestContainerStarted 1',
      'readiness true',
    ]);
    pod.stop();
  });
});

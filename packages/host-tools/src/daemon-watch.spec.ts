import { CloudosError, type GuestFingerprint, Scope, silentLogger, systemClock } from '@cloudos/sdk';
import { firstValueFrom, Subject } from 'rxjs';
import { filter } from 'rxjs/operators';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { DaemonWatch } from './daemon-watch.ts';

/** A daemon of the node's own, as far as a watch can see it. */
class Daemon {
  readonly ended = new Subject<string>();
  isRunning = false;
  /** How often it was started. */
  starts = 0;
  mayStart = true;
  #lost: (error: unknown) => void = () => {};

  async connect(_signal: AbortSignal, lost: (error: unknown) => void): Promise<void> {
    await this.ask();
    this.#lost = lost;
  }
  async ensure(): Promise<void> {
    if (this.isRunning) return;
    if (!this.mayStart) throw new CloudosError('RUNTIME_UNAVAILABLE', 'it does not come up', { remedy: 'look at it' });
    this.isRunning = true;
    this.starts++;
  }
  async describe(): Promise<GuestFingerprint> {
    return fingerprint('asleep');
  }
  async ask(): Promise<string> {
    if (!this.isRunning) throw new Error('nobody is there');
    return `start ${this.starts}`;
  }
  end(): void {
    this.isRunning = false;
    this.#lost(new Error('it is gone'));
  }
}

function fingerprint(version: string): GuestFingerprint {
  return { available: true, runtime: 'fake', version, features: {}, warnings: [] };
}

let scope: Scope;
beforeEach(() => {
  scope = new Scope('watch');
});
afterEach(() => scope.close());

async function watchOf(daemon: Daemon) {
  const looks: string[] = [];
  const watch = await DaemonWatch.open<string>(
    { scope, clock: systemClock, logger: silentLogger },
    {
      runtime: 'fake',
      name: 'the daemon',
      retryMs: 5,
      own: daemon,
      timeoutMs: 1_000,
      ask: () => daemon.ask(),
      describe: (facts) => fingerprint(facts),
      remedy: 'start it',
      events: daemon,
    },
  );
  await watch.follow({
    look: async (name) => void looks.push(name),
    lookAtAll: async () => void looks.push('all'),
  });
  const version = (print: GuestFingerprint) => (print.available ? print.version : print.reason);
  const until = (wanted: string) =>
    firstValueFrom(watch.fingerprints.pipe(filter((print) => version(print) === wanted)));
  return { watch, looks, until };
}

test('a daemon of our own is started with the first use of it, once for all that come at the same time', async () => {
  const daemon = new Daemon();
  const { watch, looks, until } = await watchOf(daemon);
  await until('asleep');
  expect(daemon.starts).toBe(0);
  expect(await Promise.all([watch.facts(), watch.facts(), watch.facts()])).toEqual(Array(3).fill('start 1'));
  expect(daemon.starts).toBe(1);
  await until('start 1');
  daemon.ended.next('a');
  expect(looks).toEqual(['all', 'a']);
});

test('one that ends is started again, and all guests are looked at', async () => {
  const daemon = new Daemon();
  const { watch, looks, until } = await watchOf(daemon);
  await watch.facts();
  daemon.end();
  await until('start 2');
  expect(looks).toEqual(['all', 'all']);
  expect(await watch.facts()).toBe('start 2');
});

test('one that does not come up again is unavailable until it does', async () => {
  const daemon = new Daemon();
  const { watch, until } = await watchOf(daemon);
  await watch.facts();
  daemon.mayStart = false;
  daemon.end();
  expect(await until('nobody is there')).toMatchObject({ available: false, runtime: 'fake', remedy: 'start it' });
  await expect(watch.facts()).rejects.toMatchObject({ code: 'RUNTIME_UNAVAILABLE', remedy: 'look at it' });
  daemon.mayStart = true;
  await until('start 2');
});

test('one that was removed is left alone until it is needed', async () => {
  const daemon = new Daemon();
  const { watch } = await watchOf(daemon);
  await watch.facts();
  watch.forget();
  daemon.end();
  // Longer than it would take to look for it.
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(daemon.starts).toBe(1);
  expect(await watch.facts()).toBe('start 2');
});

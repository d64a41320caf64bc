import type { ExecRequest, GuestDriver } from '@cloudos/sdk';
import { NEVER } from 'rxjs';
import { expect, test } from 'vitest';
import { boundedDriver, openWaits, within } from './guest-bounds.ts';

const never = new Promise<never>(() => {});
const maxMs = 20;

/** A driver that does not come to an end with anything but `start`. */
class Stuck {
  #starts = 0;
  async start() {
    return { pid: ++this.#starts };
  }
  stop() {
    return never;
  }
  async *logs(): AsyncGenerator<string> {
    yield 'a piece';
    await never;
  }
  async exec() {
    return { output: NEVER, exitCode: never, write: () => never, end() {}, resize() {}, kill() {} };
  }
}

const driver = boundedDriver(new Stuck() as unknown as GuestDriver, maxMs);

test('a driver answers as it does, and what never comes is named', async () => {
  expect(await driver.start('a', 1)).toEqual({ pid: 1 });
  expect(await driver.start('a', 1)).toEqual({ pid: 2 });
  expect(driver.pause).toBeUndefined();
  await expect(driver.stop('a', 5)).rejects.toThrow('did not happen in 20 ms: an answer to stop(a)');
  const pieces: unknown[] = [];
  const read = async () => {
    for await (const piece of driver.logs('a', {})) pieces.push(piece);
  };
  await expect(read()).rejects.toThrow('the next piece of logs(a)');
  expect(pieces).toEqual(['a piece']);
  const session = await driver.exec('a', { command: ['cat', 'x'] } satisfies ExecRequest);
  await expect(session.exitCode).rejects.toThrow('the exit code of exec(a) cat x');
  await expect(session.write(new Uint8Array())).rejects.toThrow('room for input of exec(a) cat x');
});

test('what is being waited for can be told meanwhile', async () => {
  const waiting = within(maxMs, 'the end of the world', never);
  expect(openWaits()).toEqual([expect.stringMatching(/^the end of the world, for \d+ ms$/)]);
  await expect(waiting).rejects.toThrow();
  expect(openWaits()).toEqual([]);
});

import type { GuestStatus } from '@cloudos/sdk';
import { describe, expect } from 'vitest';
import type { GuestSuite } from '../guest.conformance.ts';
import { expectCode, testWhen } from './guest-harness.ts';

/** Snapshots, on the node and away from it, each with the state that it keeps. */
export function snapshotTests({ harness, programs, commands, supports, options }: GuestSuite): void {
  const state = options.state ?? {
    async write(_harness, guest, text) {
      const { code } = await harness().exec(guest.instance, { command: commands.write('/state', text) });
      if (code !== 0) throw new Error(`the state was not written: ${code}`);
    },
    read: async (_harness, guest) =>
      (await harness().exec(guest.instance, { command: commands.read('/state') })).stdout,
  };
  const written = async (text: string): Promise<GuestStatus> => {
    const guest = await harness().run(programs.sleepForever());
    await state.write(harness(), guest, text);
    return guest;
  };
  /** Runs, with the next attempt where a snapshot without memory has stopped it. */
  const running = async (guest: GuestStatus): Promise<GuestStatus> =>
    guest.state === 'running' ? guest : harness().driver.start(guest.instance, guest.attempt + 1);

  describe('snapshots', () => {
    testWhen(supports.snapshot)('put the state back that was', async () => {
      const { driver } = harness();
      const guest = await written('before');
      const snapshot = await driver.snapshot?.(guest.instance, 'one');
      expect(snapshot).toMatchObject({ name: 'one', memory: supports.snapshotMemory === true });
      expect(snapshot?.sizeBytes).toBeGreaterThan(0);
      expect(await harness().find(guest.instance)).toMatchObject({ state: 'running', attempt: 1 });
      await state.write(harness(), guest, 'after');
      const restored = await running((await driver.restore?.(guest.instance, 'one')) ?? guest);
      expect(restored.state).toBe('running');
      expect(restored.attempt).toBe(supports.snapshotMemory ? 1 : 2);
      expect(await state.read(harness(), restored)).toBe('before');
      await expectCode(driver.restore?.(guest.instance, 'two') ?? Promise.resolve(), 'SNAPSHOT_NOT_FOUND');
    });
    testWhen(supports.snapshot)('of the same name replace each other, and go with the guest', async () => {
      const { driver } = harness();
      const guest = await written('first');
      await driver.snapshot?.(guest.instance, 'one');
      await state.write(harness(), guest, 'second');
      await driver.snapshot?.(guest.instance, 'one');
      await state.write(harness(), guest, 'third');
      const restored = await running((await driver.restore?.(guest.instance, 'one')) ?? guest);
      expect(await state.read(harness(), restored)).toBe('second');
      await driver.remove(guest.instance);
      await expectCode(driver.restore?.(guest.instance, 'one') ?? Promise.resolve(), 'GUEST_NOT_FOUND');
    });
    testWhen(supports.export)('leave the node and come back as another guest', async () => {
      const { driver } = harness();
      const guest = await written('moved');
      await driver.snapshot?.(guest.instance, 'one');
      const data = await collected(driver.export?.(guest.instance, 'one'));
      const spec = harness().spec(programs.sleepForever());
      const made = await driver.import?.(spec, chunksOf(data));
      expect(made).toMatchObject({ instance: spec.instance, state: 'created', attempt: 0 });
      const started = await driver.start(spec.instance, 1);
      expect(started).toMatchObject({ state: 'running', attempt: 1 });
      expect(await state.read(harness(), started)).toBe('moved');
      expect(await harness().find(guest.instance)).toMatchObject({ state: 'running' });
    });
    testWhen(supports.export)('that are cut off or damaged are refused, and leave nothing', async () => {
      const { driver } = harness();
      const guest = await written('cut');
      await driver.snapshot?.(guest.instance, 'one');
      const data = await collected(driver.export?.(guest.instance, 'one'));
      for (const bad of [data.subarray(0, Math.floor(data.length / 2)), Buffer.from('no snapshot'), Buffer.alloc(0)]) {
        const spec = harness().spec(programs.sleepForever());
        await expectCode(driver.import?.(spec, chunksOf(bad)) ?? Promise.resolve(), 'SNAPSHOT_INVALID');
        expect(await harness().find(spec.instance)).toBeUndefined();
      }
    });
    testWhen(!supports.snapshot)('are absent', () => {
      expect(harness().driver.snapshot).toBeUndefined();
      expect(harness().driver.restore).toBeUndefined();
    });
    testWhen(!supports.export)('cannot leave the node', () => {
      expect(harness().driver.export).toBeUndefined();
      expect(harness().driver.import).toBeUndefined();
    });
  });
}

async function collected(data: AsyncIterable<Uint8Array> | undefined): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  if (data) for await (const chunk of data) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** In pieces, as they come over a network. */
async function* chunksOf(data: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < data.length; at += 65_536) yield data.subarray(at, at + 65_536);
}

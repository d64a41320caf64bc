import { describe, expect, it } from 'vitest';
import { MemoryEventLog } from './memory.log.ts';
import { LiveProjection, type Projection, project, saveSnapshot } from './projection.ts';

let evolved = 0;
const sum: Projection<{ sum: number }> = {
  name: 'sum',
  initial: () => ({ sum: 0 }),
  evolve(state, event) {
    evolved++;
    state.sum += event.data as number;
    return state;
  },
  snapshot: {
    version: 1,
    save: (state) => ({ ...state }),
    load: (saved) => ({ ...(saved as { sum: number }) }),
  },
};

async function logOf(...numbers: number[]): Promise<MemoryEventLog> {
  const log = new MemoryEventLog();
  for (const number of numbers) await log.append('a', [{ type: 'x-a-B', data: number }], 'any');
  return log;
}

describe('project', () => {
  it('runs over the log, up to a position', async () => {
    const log = await logOf(1, 2, 4, 8);
    expect(await project(log, sum)).toEqual({ state: { sum: 15 }, position: 3 });
    expect(await project(log, sum, { to: 1 })).toEqual({ state: { sum: 3 }, position: 1 });
    expect(await project(new MemoryEventLog(), sum)).toEqual({ state: { sum: 0 }, position: -1 });
  });

  it('begins with a snapshot, unless that is later than what is asked for or of another version', async () => {
    const log = await logOf(1, 2, 4);
    await saveSnapshot(log.snapshots, sum, await project(log, sum, { to: 1 }));
    evolved = 0;
    expect(await project(log, sum, { snapshots: log.snapshots })).toEqual({ state: { sum: 7 }, position: 2 });
    expect(evolved).toBe(1);
    expect(await project(log, sum, { snapshots: log.snapshots, to: 0 })).toEqual({ state: { sum: 1 }, position: 0 });
    evolved = 0;
    await project(log, { ...sum, snapshot: { ...sum.snapshot!, version: 2 } }, { snapshots: log.snapshots });
    expect(evolved).toBe(3);
  });
});

describe('LiveProjection', () => {
  it('follows the log', async () => {
    const log = await logOf(1, 2);
    const live = await LiveProjection.start(log, sum);
    expect(live.state.sum).toBe(3);
    await log.append('a', [{ type: 'x-a-B', data: 10 }], 'any');
    await live.reached(2);
    expect(live.state.sum).toBe(13);
    const never = live.reached(99);
    live.close();
    await expect(never).rejects.toThrow('closed');
  });

  it('ends with what evolve throws', async () => {
    const log = await logOf();
    const failing = {
      ...sum,
      evolve: () => {
        throw new Error('cannot');
      },
    };
    const live = await LiveProjection.start(log, failing);
    const reached = live.reached(0);
    await log.append('a', [{ type: 'x-a-B', data: 1 }], 'any');
    await expect(reached).rejects.toThrow('cannot');
  });
});

import { describe, expect, it } from 'vitest';
import { exportLog } from './export.ts';
import { MemoryEventLog } from './memory.log.ts';

function deterministic(): MemoryEventLog {
  let id = 0;
  let now = 1_000;
  return new MemoryEventLog({
    clock: { now: () => now++, after: () => () => {} },
    newId: () => `00000000-0000-7000-8000-${(id++).toString(16).padStart(12, '0')}`,
    freeze: true,
  });
}

async function run(log: MemoryEventLog): Promise<string> {
  const order: string[] = [];
  log.subscribe(0).subscribe((batch) => order.push(`first ${batch.length}`));
  log.subscribe(0, { types: ['x-a-C'] }).subscribe((batch) => order.push(`second ${batch.length}`));
  await Promise.all(
    Array.from({ length: 50 }, (_, n) =>
      log
        .append(`s-${n % 3}`, [{ type: n % 2 ? 'x-a-B' : 'x-a-C', data: { n } }], 'any')
        .then(() => order.push(`${n}`)),
    ),
  );
  for await (const lines of exportLog(log)) order.push(lines);
  return order.join('\n');
}

describe('MemoryEventLog', () => {
  it('repeats itself to the byte, the order of deliveries included', async () => {
    expect(await run(deterministic())).toBe(await run(deterministic()));
  });

  it('hands subscribers the very events that a reader gets, frozen where asked', async () => {
    const log = deterministic();
    const seen: unknown[] = [];
    const done = new Promise<void>((resolve) =>
      log.subscribe(0).subscribe((batch) => {
        seen.push(...batch);
        resolve();
      }),
    );
    const data = { list: [1] };
    await log.append('a', [{ type: 'x-a-B', data }], 'none');
    await done;
    for await (const batch of log.read({})) expect(batch[0]).toBe(seen[0]);
    expect((seen[0] as { data: unknown }).data).toBe(data);
    expect(() => data.list.push(2)).toThrow(TypeError);
  });

  it('needs no timer to follow', async () => {
    const log = deterministic();
    let seen = 0;
    log.subscribe(0).subscribe((batch) => {
      seen += batch.length;
    });
    await log.append('a', [{ type: 'x-a-B', data: 1 }], 'none');
    for (let turn = 0; turn < 20; turn++) await undefined;
    expect(seen).toBe(1);
  });
});

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CliBench } from './spec-kit.ts';

let bench: CliBench;
beforeEach(async () => {
  bench = await CliBench.open({ running: true });
});
afterEach(() => bench.close());

describe('cloudos shadow', () => {
  it('looks for a while, prints both sides and the agreement, and ends the shadow', async () => {
    const { out, exitCode } = await bench.run(['shadow', 'resources-fake', '--for', '10ms']);
    expect(exitCode).toBe(0);
    expect(out).toMatch(/MEASURE\s+RESOURCES-REAL\s+RESOURCES-FAKE/);
    expect(out).toMatch(/cpu requested\s+50\.0%\s+50\.0%/);
    expect(out).toContain('agreement: 100.0% of 1 instance');
    expect(bench.kernel.shadows()).toEqual([]);
  });

  it('keeps it where it is asked to, lists and ends it', async () => {
    const kept = await bench.run(['shadow', 'resources-fake', '--for', '10ms', '--keep', '-o', 'json']);
    expect(JSON.parse(kept.out)).toMatchObject({ plugin: 'resources-fake', agreement: { sameNode: 1 } });
    const listed = await bench.run(['shadow', '-o', 'json']);
    expect(JSON.parse(listed.out)).toMatchObject([{ plugin: 'resources-fake' }]);
    expect((await bench.run(['shadow', 'resources-fake', '--end'])).exitCode).toBe(0);
    expect((await bench.run(['shadow'])).out).toBe('no shadow runs\n');
    expect((await bench.run(['shadow', 'resources-fake', '--end'])).exitCode).toBe(4);
  });
});

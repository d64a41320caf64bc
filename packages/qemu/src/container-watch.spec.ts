import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type GuestContainerChange, guestTemplate } from '@cloudos/sdk';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { containerStatuses } from './container-status.ts';
import { ContainerWatch } from './container-watch.ts';
import type { Vm } from './vm-flavour.ts';

let directory: string;
let watch: ContainerWatch;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'cloudos-record-'));
  mkdirSync(join(directory, 'm'));
  writeFileSync(record(), '');
  watch = new ContainerWatch();
});
afterEach(() => {
  watch.forgetAll();
  rmSync(directory, { recursive: true });
});

const record = () => join(directory, 'm/end');

function machine(launch = 'one'): Vm {
  const containers = ['b', 'c'].map((name) => ({ name, image: 'i' }));
  const template = guestTemplate.parse({ image: 'i', requests: {}, limits: {}, containers });
  const spec = { instance: 'pod', workload: 'w', node: 'n', template };
  return { name: 'pod', directory, state: { version: 1, spec, attempt: 4, launch, own: {} } };
}

function told(): GuestContainerChange[] {
  const changes: GuestContainerChange[] = [];
  watch.changes.subscribe((change) => changes.push(change));
  return changes;
}

describe('the record of containers', () => {
  it('is told line by line, with what each says', () => {
    const changes = told();
    const lines = [
      'container 1 ended 0 3 0 0 1000',
      'container 1 runs 1',
      'container 2 ended 0 -1 9 1 2000',
      'container 2 ended 1 -1 15 0 -1',
      'container 9 ended 0 0 0 0 1000',
      'end 0 0 0',
      'container 1 ru',
    ];
    appendFileSync(record(), lines.join('\n'));
    watch.follow(machine());
    const about = { instance: 'pod', attempt: 4 };
    const memory = { exitCode: null, signal: 'SIGKILL', reason: 'oom-killed', message: 'over its memory' };
    const exit = { exitCode: 3, signal: null, reason: 'exited' };
    expect(changes).toEqual([
      { ...about, name: 'b', state: 'waiting', restarts: 0, backOffMs: 1_000, exit },
      { ...about, name: 'b', state: 'running', restarts: 1 },
      { ...about, name: 'c', state: 'waiting', restarts: 0, backOffMs: 2_000, exit: memory },
      {
        ...about,
        name: 'c',
        state: 'ended',
        restarts: 1,
        exit: { exitCode: null, signal: 'SIGTERM', reason: 'signalled' },
      },
    ]);
    expect(containerStatuses(machine())).toMatchObject([
      { name: 'b', state: 'running', restarts: 1, exit },
      { name: 'c', state: 'ended', restarts: 1 },
    ]);
    appendFileSync(record(), 'ns 2\n');
    watch.follow(machine());
    expect(changes.slice(4)).toEqual([{ ...about, name: 'b', state: 'running', restarts: 2 }]);
  });

  it('is told without anybody asking', async () => {
    const changes = told();
    watch.follow(machine());
    appendFileSync(record(), 'container 1 runs 1\n');
    await expect.poll(() => changes.length, { timeout: 60_000, interval: 10 }).toBe(1);
  });

  it('is cut when it is long, and what it said is kept; that of another run is another one', () => {
    const changes = told();
    watch.follow(machine());
    const lines = 4_000;
    for (let n = 0; n < lines; n += 2) {
      appendFileSync(record(), `container 1 ended ${n} 1 0 0 1000\ncontainer 1 runs ${n + 1}\n`);
      if (n % 100 === 0) watch.follow(machine());
    }
    watch.follow(machine());
    expect(changes.length).toBe(lines);
    expect(statSync(record()).size).toBeLessThan(64 * 1024);
    const last = { name: 'b', state: 'running', restarts: lines - 1, exit: { exitCode: 1 } };
    expect(containerStatuses(machine())[0]).toMatchObject(last);
    // What was kept is of that run alone.
    writeFileSync(record(), '');
    expect(containerStatuses(machine())[0]).toMatchObject({ state: 'running', exit: { exitCode: 1 } });
    expect(containerStatuses(machine('two'))[0]).toEqual({ name: 'b', state: 'running', restarts: 0 });
  });

  it('is read from the file of the machine alone, not from what lies in its place', () => {
    const other = join(directory, 'other');
    writeFileSync(other, 'container 1 runs 1\n'.repeat(5_000));
    rmSync(record());
    symlinkSync(other, record());
    const changes = told();
    watch.follow(machine());
    expect(changes).toEqual([]);
    expect(statSync(other).size).toBeGreaterThan(64 * 1024);
    expect(existsSync(join(directory, 'containers.json'))).toBe(false);
  });
});

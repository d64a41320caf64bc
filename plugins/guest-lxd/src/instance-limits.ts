import { readFileSync } from 'node:fs';
import { CloudosError, type GuestSpec, hasCode, messageOf } from '@cloudos/sdk';
import type { GuestRecord } from './guest-record.ts';
import { memoryKeys, otherLimitKeys } from './instance-config.ts';
import type { LxdEnvironment } from './instance-life.ts';
import { type InstanceState, isRunning } from './instance-view.ts';

/** One change, and what takes it back. */
interface Step {
  readonly apply: () => Promise<void>;
  readonly undo: () => Promise<void>;
}

/**
 * Gives an instance the limits of that specification, at once if it runs (LXD documentation, "Instance options", live
 * update). All of them or none: what was changed is changed back where the next cannot be.
 * @throws CloudosError GUEST_STATE for a limit below what the guest uses, GUEST_SPEC_INVALID for one that the pool cannot keep
 */
export async function changeLimits(environment: LxdEnvironment, record: GuestRecord, wanted: GuestSpec): Promise<void> {
  const { client, pool, images } = environment;
  const { instance, template } = record.spec;
  const { limits: before } = template;
  const { limits: after } = wanted.template;
  await pool.check(wanted);
  const path = `/1.0/instances/${record.name}`;
  const state = await client.get<InstanceState>(`${path}/state`);
  const configured = (keys: typeof memoryKeys): Step => {
    const give = async (limits: typeof before) => void (await client.change('PATCH', path, { config: keys(limits) }));
    return { apply: () => give(after), undo: () => give(before) };
  };
  const memory = configured(memoryKeys);
  const steps: Step[] = [
    { ...memory, apply: () => withinUse(instance, after.memoryBytes, state, memory.apply) },
    configured(otherLimitKeys),
  ];
  if (before.diskBytes !== after.diskBytes) {
    const root = await pool.rootFor(record.name, before.diskBytes, after.diskBytes, () =>
      images.rootBytes(record.digest),
    );
    if (root.sizeBytes > 0 && (state.disk?.root?.usage ?? 0) > root.sizeBytes) {
      throw tooMuch(instance, `disk than ${after.diskBytes} bytes`);
    }
    // The daemon writes a file into the root with each change, for which a full one has room only when it has become larger.
    const grows = before.diskBytes > 0 && (after.diskBytes === 0 || after.diskBytes > before.diskBytes);
    steps.splice(grows ? 0 : steps.length, 0, {
      apply: () => withinDisk(instance, after.diskBytes, root),
      undo: root.undo,
    });
  }
  await allOrNone(steps);
}

async function allOrNone(steps: readonly Step[]): Promise<void> {
  const undos: (() => Promise<void>)[] = [];
  for (const { apply, undo } of steps) {
    try {
      await apply();
    } catch (error) {
      for (const take of undos.reverse()) await take().catch(() => {}); // told is what failed first
      throw error;
    }
    undos.push(undo);
  }
}

/** In the unified hierarchy what is over a new limit is killed for it; in the old ones the limit is refused. */
async function withinUse(instance: string, memoryBytes: number, state: InstanceState, apply: () => Promise<void>) {
  const fixed = memoryBytes > 0 && isRunning(state) ? fixedMemory(state.pid) : undefined;
  if (fixed !== undefined && fixed > memoryBytes) throw tooMuch(instance, `memory than ${memoryBytes} bytes`);
  try {
    await apply();
  } catch (error) {
    if (!isRunning(state) || !/resource busy/i.test(messageOf(error))) throw error;
    throw tooMuch(instance, `memory than ${memoryBytes} bytes`, error);
  }
}

/** What is not written yet is not counted yet: the daemon finds out when it writes to the root. */
async function withinDisk(instance: string, diskBytes: number, { apply, undo }: Step): Promise<void> {
  try {
    await apply();
  } catch (error) {
    if (!hasCode(error, 'DISK_FULL')) throw error;
    await undo().catch(() => {}); // told is what failed first
    throw tooMuch(instance, `disk than ${diskBytes} bytes`, error);
  }
}

function tooMuch(instance: string, what: string, cause?: unknown): CloudosError {
  return new CloudosError('GUEST_STATE', `${instance} uses more ${what}`, {
    cause,
    remedy: 'give it more, or let it give some back first',
  });
}

/** Memory that cannot be taken from the guest of that first process, in the unified hierarchy; undefined: not there. */
function fixedMemory(pid: number): number | undefined {
  try {
    const group = /^0::(.*\/lxc\.payload\.[^/\n]+)/m.exec(readFileSync(`/proc/${pid}/cgroup`, 'utf8'))?.[1];
    if (group === undefined) return undefined;
    const anon = /^anon (\d+)$/m.exec(readFileSync(`/sys/fs/cgroup${group}/memory.stat`, 'utf8'))?.[1];
    return anon === undefined ? undefined : Number(anon);
  } catch {
    return undefined;
  }
}

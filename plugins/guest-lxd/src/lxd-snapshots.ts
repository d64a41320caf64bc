import { join } from 'node:path';
import { findTool, runCommand } from '@cloudos/host-tools';
import { CloudosError, type GuestSnapshot, type GuestSpec } from '@cloudos/sdk';
import type { GuestRecord } from './guest-record.ts';
import { type InstanceLife, type LxdEnvironment, removeRemains } from './instance-life.ts';
import type { Instance } from './instance-view.ts';
import { type LxdClient, statusOfError } from './lxd-client.ts';
import type { StoragePool } from './storage-pool.ts';

/** How long counting the bytes of a root may take. */
const sizeMaxMs = 60_000;

/** Snapshots of the root of an instance, by the means of its storage pool. They hold no memory. */
export async function takeSnapshot(
  { client, pool }: LxdEnvironment,
  record: GuestRecord,
  name: string,
): Promise<GuestSnapshot> {
  const path = `/1.0/instances/${record.name}/snapshots`;
  const snapshot = snapshotName(name);
  await client.change('DELETE', `${path}/${snapshot}`).catch(unlessAbsent);
  await client.change('POST', path, { name: snapshot, stateful: false });
  const { size = 0 } = await client.get<{ size?: number }>(`${path}/${snapshot}`);
  const sizeBytes = size > 0 ? size : await sizeOnDisk(pool, record.name, snapshot);
  return { name, sizeBytes, memory: false };
}

/** Some pools do not know the size; their snapshots are directories of the daemon. 0: not known. */
async function sizeOnDisk(pool: StoragePool, name: string, snapshot: string): Promise<number> {
  const directory = join(pool.directory, 'containers-snapshots', name, snapshot);
  const said = await runCommand(findTool('du') ?? 'du', ['-sb', directory], { timeoutMs: sizeMaxMs }).catch(() => '0');
  return Number.parseInt(said, 10);
}

/** Puts the root back. The instance must not run. @throws CloudosError SNAPSHOT_NOT_FOUND */
export async function restoreSnapshot({ client }: LxdEnvironment, record: GuestRecord, name: string): Promise<void> {
  await assertSnapshot(client, record, name);
  await client.change('PUT', `/1.0/instances/${record.name}`, { restore: snapshotName(name) });
}

/** @throws CloudosError SNAPSHOT_NOT_FOUND */
export async function assertSnapshot(client: LxdClient, record: GuestRecord, name: string): Promise<void> {
  if (await client.find(`/1.0/instances/${record.name}/snapshots/${snapshotName(name)}`)) return;
  throw new CloudosError('SNAPSHOT_NOT_FOUND', `${record.spec.instance} has no snapshot ${name}`);
}

/** A snapshot as a backup of an instance of its own, which is what the daemon can give away. */
export async function* exportSnapshot(
  { client }: LxdEnvironment,
  record: GuestRecord,
  name: string,
): AsyncGenerator<Uint8Array> {
  await assertSnapshot(client, record, name);
  const copy = `${record.name.slice(0, 52)}-x${Date.now().toString(36).slice(-8)}`;
  const source = { type: 'copy', source: `${record.name}/${snapshotName(name)}` };
  try {
    await client.change('POST', '/1.0/instances', {
      name: copy,
      type: 'container',
      source,
      devices: await withoutDevices(client, record),
    });
    const backup = { name: 'export', instance_only: true, optimized_storage: false, compression_algorithm: 'none' };
    await client.change('POST', `/1.0/instances/${copy}/backups`, backup);
    yield* client.download(`/1.0/instances/${copy}/backups/export/export`);
  } finally {
    await client.change('DELETE', `/1.0/instances/${copy}`).catch(() => {});
    await removeRemains(client, copy);
  }
}

/** The root alone: what another node makes of it has neither this address nor these directories. */
async function withoutDevices(client: LxdClient, { name }: GuestRecord): Promise<Record<string, { type: 'none' }>> {
  const { devices } = await client.get<{ devices: Readonly<Record<string, unknown>> }>(`/1.0/instances/${name}`);
  const others = Object.keys(devices).filter((device) => device !== 'root');
  return Object.fromEntries(others.map((device) => [device, { type: 'none' }]));
}

/** Makes a guest of exported data. @throws CloudosError SNAPSHOT_INVALID */
export function importSnapshot(
  environment: LxdEnvironment,
  life: InstanceLife,
  spec: GuestSpec,
  data: AsyncIterable<Uint8Array>,
): Promise<GuestRecord> {
  const { client } = environment;
  return life.makeFrom(environment, spec, async ({ name }, parts) => {
    try {
      await client.upload('/1.0/instances', data, { 'X-LXD-name': name, 'X-Incus-name': name });
    } catch (error) {
      if ((error as Partial<CloudosError>).code === 'DISK_FULL') throw error;
      throw new CloudosError('SNAPSHOT_INVALID', `${spec.instance}: ${String(error)}`, { cause: error });
    }
    const found = await client.get<Instance & { architecture: string }>(`/1.0/instances/${name}`);
    const volatile = Object.fromEntries(
      Object.entries(found.config).filter(([key]) => /^(volatile|image)\./.test(key)),
    );
    await client.change('PUT', `/1.0/instances/${name}`, {
      ...parts,
      architecture: found.architecture,
      config: { ...volatile, ...parts.config },
    });
  });
}

/** What names of snapshots may contain is the daemon's to say; any name is one here. */
function snapshotName(name: string): string {
  return Buffer.from(name).toString('hex');
}

function unlessAbsent(error: unknown): void {
  if (statusOfError(error) !== 404) throw error;
}

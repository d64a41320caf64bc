import { existsSync } from 'node:fs';
import { mkdir, readdir, rmdir, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type CheckedMount,
  checkMounts,
  digest,
  guestName,
  mountAt,
  mountShifted,
  shiftedMountObstacle,
  unmountBelow,
} from '@cloudos/host-tools';
import { CloudosError, type GuestSpec } from '@cloudos/sdk';

/** The users of a guest on the node: its 0 is `base`. */
export interface GuestUsers {
  readonly base: number;
  readonly count: number;
}

/**
 * Paths of the node as guests see them: what belongs to root there belongs to the root of the guest. The daemon has such
 * mounts too (`shift`), but asks the kernel in a way that it refuses from Linux 6.16 on (mount_setattr(2) with a
 * propagation on a mount that is nowhere yet: EINVAL). So the node makes them, and the daemon passes them on as they are.
 *
 * They lie in /run and are removed with rmdir(2) and unlink(2) alone: whatever removes a directory of ours with all that is in
 * it never meets a path of the node.
 */
export class GuestMounts {
  readonly #directory: string;
  readonly #hostPaths: readonly string[];

  /** @param hostPaths directories whose paths guests may mount */
  constructor(dataDir: string, hostPaths: readonly string[]) {
    this.#directory = `/run/cloudos-lxd-${digest(dataDir, 12)}`;
    this.#hostPaths = hostPaths;
  }

  #of(instance: string): string {
    return join(this.#directory, guestName(instance));
  }

  /** @throws CloudosError GUEST_SPEC_INVALID, HOST_PATH_FORBIDDEN */
  async check({ instance, template }: GuestSpec): Promise<CheckedMount[]> {
    const mounts = await checkMounts(template.mounts, this.#hostPaths);
    const obstacle = mounts.length > 0 ? shiftedMountObstacle() : undefined;
    if (!obstacle) return mounts;
    throw new CloudosError(
      'GUEST_SPEC_INVALID',
      `${instance}: no path of the node can be mounted: ${obstacle.reason}`,
      {
        remedy: obstacle.remedy,
      },
    );
  }

  /** The mounts as devices of the daemon. What they lead to is there after {@link mount}. */
  devices({ instance, template }: GuestSpec): Record<string, Record<string, string>> {
    return Object.fromEntries(
      (template.mounts ?? []).map(({ target, readOnly }, index) => [
        `cloudos-mount-${index}`,
        {
          type: 'disk',
          source: join(this.#of(instance), String(index)),
          path: target,
          ...(readOnly && { readonly: 'true' }),
        },
      ]),
    );
  }

  /** Makes what they are mounted on. */
  async prepare({ instance }: GuestSpec, mounts: readonly CheckedMount[]): Promise<void> {
    if (mounts.length === 0) return;
    await mkdir(this.#of(instance), { recursive: true, mode: 0o711 });
    for (const [index, { directory }] of mounts.entries()) {
      const point = join(this.#of(instance), String(index));
      if (existsSync(point)) continue;
      if (directory) await mkdir(point);
      else await writeFile(point, '');
    }
  }

  /** Mounts what is not mounted yet; again after a start of the machine. */
  async mount(spec: GuestSpec, { base, count }: GuestUsers): Promise<void> {
    const mounts = await this.check(spec);
    if (mounts.length === 0) return;
    await this.prepare(spec, mounts);
    for (const [index, { hostPath: source, readOnly }] of mounts.entries()) {
      const target = join(this.#of(spec.instance), String(index));
      if (!mountAt(target)) await mountShifted({ source, target, readOnly, base, count });
    }
  }

  /** Leaves nothing of a guest. */
  async remove(instance: string): Promise<void> {
    const directory = this.#of(instance);
    if (!existsSync(directory)) return;
    await unmountBelow(directory);
    for (const entry of await readdir(directory, { withFileTypes: true })) {
      await (entry.isDirectory() ? rmdir : unlink)(join(directory, entry.name));
    }
    await rmdir(directory);
    await rmdir(this.#directory).catch(() => {}); // there are others
  }
}

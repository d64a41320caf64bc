import { CloudosError, type GuestSpec } from '@cloudos/sdk';
import type Docker from 'dockerode';
import { type EngineFacts, engineError } from './engine.ts';
import type { OwnEngine } from './own-engine.ts';

/** Less than this a file system does not keep apart from its own bookkeeping. */
export const diskLimitMinBytes = 2 ** 20;

/** Who keeps the limits of disk: the node by the quotas of its own engine, or an engine that somebody else runs. */
export class DiskLimit {
  readonly #docker: Docker;
  readonly #own: OwnEngine | undefined;

  constructor(docker: Docker, own: OwnEngine | undefined) {
    this.#docker = docker;
    this.#own = own;
  }

  /** Why there is none on this engine, and what would change it. */
  obstacle(facts: EngineFacts): { readonly reason: string; readonly remedy: string } | undefined {
    if (this.#own) {
      const found = this.#own.diskObstacle();
      return found && { ...found, reason: `a disk limit cannot be kept: ${found.reason}` };
    }
    if (facts.diskLimit) return undefined;
    return {
      reason: `the storage driver ${facts.storageDriver} cannot limit the disk of a container here`,
      remedy: 'put the directory of the engine on xfs mounted with prjquota, or on btrfs or zfs; or use `engine: own`',
    };
  }

  /** @throws CloudosError GUEST_SPEC_INVALID when the guest asks for a limit that cannot be kept */
  check({ instance, template }: GuestSpec, facts: EngineFacts): void {
    const { diskBytes } = template.limits;
    if (diskBytes === 0) return;
    const found = this.obstacle(facts);
    if (found) {
      throw new CloudosError('GUEST_SPEC_INVALID', `${instance}: ${found.reason}`, { remedy: found.remedy });
    }
    if (diskBytes >= diskLimitMinBytes) return;
    throw new CloudosError(
      'GUEST_SPEC_INVALID',
      `${instance}: a disk limit of ${diskBytes} bytes is too small; the least is ${diskLimitMinBytes}`,
    );
  }

  /**
   * Size of the root that the engine is to keep, for a limit of what the guest writes; undefined: it is not the engine that
   * keeps it, or there is no limit.
   * @throws CloudosError GUEST_SPEC_INVALID for an image with volumes: they lie beside the root
   */
  async rootBytes({ instance, template }: GuestSpec, image: string, facts: EngineFacts): Promise<number | undefined> {
    const { diskBytes } = template.limits;
    if (diskBytes === 0) return undefined;
    try {
      const { Config: config, Size: imageBytes } = await this.#docker.getImage(image).inspect();
      const volumes = Object.keys(config.Volumes ?? {});
      if (volumes.length > 0) {
        throw new CloudosError(
          'GUEST_SPEC_INVALID',
          `${instance}: ${image} keeps ${volumes.join(', ')} in volumes, which a disk limit does not reach`,
          { remedy: 'import the image into the image store: from there it has none' },
        );
      }
      if (this.#own) return undefined;
      // The quotas of btrfs count all that a root refers to, those of xfs and zfs what it has of its own.
      return diskBytes + (facts.storageDriver === 'btrfs' ? imageBytes : 0);
    } catch (error) {
      throw engineError(error, `image ${image}`);
    }
  }

  /** For a container that was made and does not run yet. */
  async apply({ template }: GuestSpec, container: string): Promise<void> {
    const { diskBytes } = template.limits;
    if (this.#own && diskBytes > 0) await this.#own.limitDisk(container, diskBytes);
  }
}

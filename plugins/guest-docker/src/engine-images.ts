import { createReadStream } from 'node:fs';
import { dockerArchive, type Image, type ImageStore, normalReference, type OciImage } from '@cloudos/images';
import { CloudosError, type GuestSpec, hasCode } from '@cloudos/sdk';
import type Docker from 'dockerode';
import { engineError, unlessAbsent } from './engine.ts';

export interface EngineImagesOptions {
  readonly docker: Docker;
  readonly store: ImageStore;
  /** Node, as the holds of the store name it. */
  readonly node: string;
  /** Whether the engine may fetch what neither it nor the store has. */
  readonly pull: boolean;
}

/** An image at the engine, and the one of the store that it was made from. */
export interface ProvidedImage {
  /** Reference at the engine. */
  readonly image: string;
  /** Absent: the store does not have it. */
  readonly digest?: string;
}

/** Repository at the engine under which images of the store are found, tagged by their digest. */
const repository = 'cloudos-store';

/** Brings images to the engine, lazily and once: from the store of the machine, or by the engine's own means. */
export class EngineImages {
  readonly #options: EngineImagesOptions;
  readonly #loading = new Map<string, Promise<void>>();

  constructor(options: EngineImagesOptions) {
    this.#options = options;
  }

  /** @throws CloudosError IMAGE_NOT_FOUND, IMAGE_CORRUPT, IMAGE_UNSUITABLE, DISK_FULL */
  async provide({ instance, template }: GuestSpec): Promise<ProvidedImage> {
    const stored = await this.#stored(template.image);
    if (!stored) return { image: await this.#known(template.image) };
    if (stored.kind !== 'oci') {
      throw new CloudosError('IMAGE_UNSUITABLE', `${template.image} is an image of the kind ${stored.kind}`, {
        remedy: 'use an image with a root file system, or another runtime',
      });
    }
    await this.#options.store.hold(stored.digest, this.#holder(instance));
    try {
      return { image: await this.#load(stored), digest: stored.digest };
    } catch (error) {
      await this.release(instance, stored.digest);
      throw error;
    }
  }

  /** The guest does not use the image any more. What the engine has of it stays until {@link removeAll}. */
  async release(instance: string, digest: string | undefined): Promise<void> {
    if (digest !== undefined) await this.#options.store.release(digest, this.#holder(instance));
  }

  /** Removes what was brought to the engine from the store and no container of anybody uses. */
  async removeAll(): Promise<void> {
    const { docker } = this.#options;
    const images = await docker.listImages({ filters: { reference: [repository] } }).catch(() => []);
    for (const tag of images.flatMap(({ RepoTags: tags }) => tags ?? [])) {
      await docker
        .getImage(tag)
        .remove()
        .catch(() => {}); // in use by somebody else: theirs to remove
    }
  }

  #holder(instance: string): string {
    return holderOf(this.#options.node, instance);
  }

  async #stored(reference: string): Promise<Image | undefined> {
    try {
      return await this.#options.store.resolve(reference);
    } catch (error) {
      if (hasCode(error, 'IMAGE_NOT_FOUND')) return undefined;
      throw error;
    }
  }

  async #load(image: OciImage): Promise<string> {
    const name = `${repository}:${image.digest.slice('sha256:'.length, 'sha256:'.length + 32)}`;
    const loading = this.#loading.get(name) ?? this.#loadOnce(image, name);
    this.#loading.set(name, loading);
    try {
      await loading;
    } finally {
      if (this.#loading.get(name) === loading) this.#loading.delete(name);
    }
    return name;
  }

  async #loadOnce(image: OciImage, name: string): Promise<void> {
    const { docker, store } = this.#options;
    if (await unlessAbsent(`image ${name}`, () => docker.getImage(name).inspect())) return;
    const archive = await dockerArchive(store, image, name);
    try {
      const answer = await docker.loadImage(createReadStream(archive), { quiet: true });
      await toEnd(docker, answer);
    } catch (error) {
      throw engineError(error, `loading ${image.reference}`);
    }
  }

  /** What the engine has, or can get. */
  async #known(reference: string): Promise<string> {
    const { docker, pull } = this.#options;
    const name = normalReference(reference);
    if (await unlessAbsent(`image ${name}`, () => docker.getImage(name).inspect())) return name;
    const lacking = (why: string, cause?: unknown) =>
      new CloudosError('IMAGE_NOT_FOUND', `neither the image store nor the engine has ${name}${why}`, {
        cause,
        remedy: `cloudos image import <source> --reference ${name}`,
      });
    if (!pull) throw lacking('');
    try {
      await toEnd(docker, await docker.pull(name));
      return name;
    } catch (error) {
      throw lacking(`, and it cannot be pulled: ${String((error as Error).message ?? error)}`, error);
    }
  }
}

/** The engine answers at once and tells its progress, a line each; that it failed is the last of them. */
function toEnd(docker: Docker, answer: NodeJS.ReadableStream): Promise<void> {
  return new Promise((resolve, reject) => {
    docker.modem.followProgress(answer, (error: Error | null, lines: readonly { error?: string }[]) => {
      const said = lines?.find((line) => line.error !== undefined)?.error;
      if (error) reject(error);
      else if (said === undefined) resolve();
      else reject(Object.assign(new Error(said), { statusCode: 500 }));
    });
  });
}

/** How the store knows the guest. */
export function holderOf(node: string, instance: string): string {
  return `docker ${node}/${instance}`;
}

import type { Image, ImageStore } from '@cloudos/images';
import { CloudosError, type PluginContext } from '@cloudos/sdk';

/** The images of one runtime's guests, in the store that all runtimes of the machine share. */
export class VmImages {
  readonly store: ImageStore;
  readonly #holder: string;

  constructor(store: ImageStore, runtime: string, { node }: Pick<PluginContext, 'node'>) {
    this.store = store;
    this.#holder = `${runtime} ${node?.id ?? 'local'}/`;
  }

  /** The image of that kind. @throws CloudosError IMAGE_NOT_FOUND, IMAGE_CORRUPT, IMAGE_UNSUITABLE */
  async find<Kind extends Image['kind']>(
    reference: string,
    kind: Kind,
    what: string,
  ): Promise<Extract<Image, { kind: Kind }>> {
    const image = await this.store.resolve(reference);
    if (image.kind === kind) return image as Extract<Image, { kind: Kind }>;
    throw new CloudosError('IMAGE_UNSUITABLE', `${reference} is of the kind ${image.kind}; ${what} needs ${kind}`);
  }

  /** Keeps the image of a guest in the store. */
  hold(digest: string, guest: string): Promise<void> {
    return this.store.hold(digest, this.#holder + guest);
  }

  release(digest: string, guest: string): Promise<void> {
    return this.store.release(digest, this.#holder + guest);
  }

  /** Releases what was held for guests that are not there any more. */
  sweep(guests: readonly string[]): Promise<void> {
    return this.store.sweepHolds(this.#holder, new Set(guests.map((guest) => this.#holder + guest)));
  }
}

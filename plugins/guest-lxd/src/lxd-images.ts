import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findTool, removeTree, runCommand } from '@cloudos/host-tools';
import { type ImageStore, type OciImage, rootDirectory } from '@cloudos/images';
import { CloudosError, type GuestSpec } from '@cloudos/sdk';
import { type LxdClient, statusOfError } from './lxd-client.ts';

const packMaxMs = 600_000;
/** What a container is mounted on before it runs: an image that has one program may have none of it. */
const mountedOn = ['dev', 'proc', 'sys'];
/** Value of the property by which our images are known at the daemon. */
const ours = 'cloudos';

interface DaemonImage {
  readonly fingerprint: string;
  readonly properties?: Readonly<Record<string, string>>;
}

/** Brings images of the machine's store to the daemon, lazily and once. */
export class LxdImages {
  readonly #client: LxdClient;
  readonly #store: ImageStore;
  readonly #node: string;
  /** By digest: fingerprints at the daemon, or on their way to be. */
  readonly #brought = new Map<string, Promise<string>>();

  constructor(client: LxdClient, store: ImageStore, node: string) {
    this.#client = client;
    this.#store = store;
    this.#node = node;
  }

  /**
   * The image, held for the guest.
   * @throws CloudosError IMAGE_NOT_FOUND, IMAGE_CORRUPT, IMAGE_UNSUITABLE
   */
  async hold({ instance, template }: GuestSpec): Promise<OciImage> {
    const image = await this.#resolve(template.image);
    await this.#store.hold(image.digest, holderOf(this.#node, instance));
    return image;
  }

  async #resolve(reference: string): Promise<OciImage> {
    const image = await this.#store.resolve(reference);
    if (image.kind === 'oci') return image;
    throw new CloudosError('IMAGE_UNSUITABLE', `${reference} is an image of the kind ${image.kind}`, {
      remedy: 'use an image with a root file system, or another runtime',
    });
  }

  async release(instance: string, digest: string | undefined): Promise<void> {
    if (digest !== undefined) await this.#store.release(digest, holderOf(this.#node, instance));
  }

  /**
   * Makes something of the image at the daemon, by its fingerprint there. It is brought first unless it was seen there; one
   * that somebody has removed since is brought again.
   */
  async use<T>(image: OciImage, make: (fingerprint: string) => Promise<T>): Promise<T> {
    const known = this.#brought.get(image.digest);
    try {
      return await make(await (known ?? this.#bring(image)));
    } catch (error) {
      if (!known || !isImageLacking(error)) throw error;
      this.forget();
      return make(await this.#bring(image));
    }
  }

  #bring(image: OciImage): Promise<string> {
    const bringing = this.#provide(image);
    this.#brought.set(image.digest, bringing);
    bringing.catch(() => {
      if (this.#brought.get(image.digest) === bringing) this.#brought.delete(image.digest);
    });
    return bringing;
  }

  /** To be called when the daemon may have other images than it had. */
  forget(): void {
    this.#brought.clear();
  }

  /** What the files of its root take on a disk. */
  async rootBytes(digest: string): Promise<number> {
    const root = await rootDirectory(this.#store, await this.#resolve(digest));
    const said = await runCommand(findTool('du') ?? 'du', ['-s', '-B1', root], { timeoutMs: packMaxMs });
    return Number.parseInt(said, 10);
  }

  async #provide(image: OciImage): Promise<string> {
    const found = (await this.#ours()).find(({ properties }) => properties?.digest === image.digest);
    if (found) return found.fingerprint;
    const archive = await unifiedArchive(this.#store, image);
    try {
      const operation = await this.#client.upload('/1.0/images', archive);
      return String(operation?.metadata?.fingerprint);
    } catch (error) {
      // Another driver of this machine was faster.
      const again = (await this.#ours()).find(({ properties }) => properties?.digest === image.digest);
      if (again) return again.fingerprint;
      throw error;
    }
  }

  async #ours(): Promise<DaemonImage[]> {
    const images = await this.#client.get<DaemonImage[] | null>('/1.0/images?recursion=1');
    return (images ?? []).filter(({ properties }) => properties?.os === ours);
  }

  /** Removes what was brought to the daemon. Instances don't need their image once they are made. */
  async removeAll(): Promise<void> {
    this.forget();
    for (const { fingerprint } of await this.#ours()) {
      await this.#client.change('DELETE', `/1.0/images/${fingerprint}`).catch(() => {}); // another one was faster
    }
  }
}

/** The daemon has no such image, or had none any more when it came to use it. */
function isImageLacking(error: unknown): boolean {
  return statusOfError(error) === 404 || /image.*not found|not found.*image/i.test(String(error));
}

/** How the store knows the guest. */
export function holderOf(node: string, instance: string): string {
  return `lxd ${node}/${instance}`;
}

/** One archive with `metadata.yaml` and `rootfs/` (LXD documentation, "Image format", unified tarball). */
async function unifiedArchive(store: ImageStore, image: OciImage): Promise<string> {
  const root = await rootDirectory(store, image);
  const tar = findTool('tar') ?? 'tar';
  const form = await store.derive(image.digest, 'lxd-image', async (directory) => {
    const archive = join(directory, 'image.tar');
    const metadata = [
      `architecture: ${image.architecture === 'arm64' ? 'aarch64' : 'x86_64'}`,
      'creation_date: 1',
      `properties: { os: ${ours}, digest: "${image.digest}", description: ${JSON.stringify(image.reference)} }`,
    ];
    await writeFile(join(directory, 'metadata.yaml'), `${metadata.join('\n')}\n`);
    await runCommand(tar, ['-C', directory, '-cf', archive, 'metadata.yaml'], { timeoutMs: packMaxMs });
    // Names of members and of hard links move below `rootfs`, targets of symbolic links stay as they are.
    const rename = '--transform=flags=rhS;s,^\\.,rootfs,';
    const options = ['--numeric-owner', '--xattrs', rename];
    await runCommand(tar, [...options, '-C', root, '-rf', archive, '.'], { timeoutMs: packMaxMs });
    const lacking = mountedOn.filter((name) => !existsSync(join(root, name)));
    const skeleton = join(directory, 'skeleton');
    for (const name of lacking) await mkdir(join(skeleton, name), { recursive: true, mode: 0o755 });
    if (lacking.length === 0) return;
    const as = ['--owner=0', '--group=0', '--transform=s,^,rootfs/,'];
    await runCommand(tar, [...as, '-C', skeleton, '-rf', archive, ...lacking]);
    await removeTree(skeleton);
  });
  return join(form, 'image.tar');
}

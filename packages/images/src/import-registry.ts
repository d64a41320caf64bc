import { createReadStream } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { findTool, runCommand } from '@cloudos/host-tools';
import { CloudosError, messageOf } from '@cloudos/sdk';
import type { ImageStore } from './image-store.ts';
import { counted, type ImportOptions } from './import-options.ts';
import { type Descriptor, imageIndex, imageManifest, ociArchitecture } from './oci.ts';

/** How long a registry may take to tell what an image is made of, and to give it. */
const askMaxMs = 60_000;
const copyMaxMs = 1_800_000;
/** How often is looked how much has come. */
const progressMs = 200;

/**
 * Imports from a registry, by skopeo(1): a reference such as `docker.io/library/busybox:1` or `host:port/name@sha256:…`, or
 * one with the transport that skopeo knows it by. The manifest is kept byte by byte, so that its digest means it here too;
 * of an image for several platforms it is that of this machine.
 * @returns the references
 * @throws CloudosError IMAGE_NOT_FOUND, IMAGE_CORRUPT, REGISTRY_UNREACHABLE, PERMISSION_DENIED, HOST_COMMAND_FAILED
 */
export async function importFromRegistry(store: ImageStore, from: string, options: ImportOptions): Promise<string[]> {
  const skopeo = findTool('skopeo');
  if (!skopeo) {
    throw new CloudosError('IMAGE_NOT_FOUND', `${from} is no file, and there is no skopeo to ask a registry for it`, {
      remedy: 'check the path; for a registry: apt-get install skopeo',
    });
  }
  const source = from.includes('://') ? from : `docker://${from}`;
  const reference = options.reference ?? referenceAfter(source);
  const run = async (args: readonly string[], timeoutMs: number) =>
    runCommand(skopeo, args, { timeoutMs }).catch((error: unknown) => {
      throw registryError(source, error);
    });
  return store.withTmp(async (directory) => {
    const totalBytes = options.onProgress && (await sizeOf(source, options, run));
    const verify = options.insecureRegistry ? ['--src-tls-verify=false'] : [];
    const watched = watch(directory, source, totalBytes, options.onProgress);
    try {
      await run(['copy', '--quiet', ...verify, source, `dir:${directory}`], copyMaxMs);
    } finally {
      watched();
    }
    await store.tag(await importCopy(store, directory, options), reference);
    return [reference];
  });
}

/** What a directory holds after `skopeo copy … dir:`: `manifest.json`, and each blob under the hex digits of its digest. */
async function importCopy(store: ImageStore, directory: string, options: ImportOptions): Promise<Descriptor> {
  const bytes = await readFile(join(directory, 'manifest.json'));
  const manifest = imageManifest.parse(JSON.parse(bytes.toString()));
  for (const { digest } of [manifest.config, ...manifest.layers]) {
    const path = join(directory, digest.slice('sha256:'.length));
    const { size } = await stat(path);
    const content = counted(createReadStream(path), digest.slice(0, 19), size, options.onProgress);
    await store.blobs.put(content, digest);
  }
  return {
    mediaType: manifest.mediaType ?? 'application/vnd.oci.image.manifest.v1+json',
    ...(await store.blobs.put(bytes)),
  };
}

/** `docker://host/name@sha256:0123…` → `host/name:sha256-0123…`: a digest is no name that could be given. */
function referenceAfter(source: string): string {
  const name = source.replace(/^[a-z-]+:(\/\/)?/, '');
  return name.replace(/@sha256:([0-9a-f]{12})[0-9a-f]*$/, ':sha256-$1');
}

type Run = (args: readonly string[], timeoutMs: number) => Promise<string>;

/** Bytes of all layers, as the manifest tells them; undefined where it does not. */
async function sizeOf(source: string, { insecureRegistry }: ImportOptions, run: Run): Promise<number | undefined> {
  const verify = insecureRegistry ? ['--tls-verify=false'] : [];
  const ask = async (name: string) =>
    JSON.parse(await run(['inspect', '--raw', ...verify, name], askMaxMs)) as Record<string, unknown>;
  const first = await ask(source);
  const list = imageIndex.safeParse(first);
  const fits = list.data?.manifests.find(
    ({ platform }) => platform?.os === 'linux' && platform.architecture === ociArchitecture(),
  );
  const found = fits ? await ask(`${source.replace(/(@sha256:[0-9a-f]+|:[\w.-]+)$/, '')}@${fits.digest}`) : first;
  return imageManifest.safeParse(found).data?.layers.reduce((sum, { size }) => sum + size, 0);
}

/** Tells how much of the copy has come until it is told to end. */
function watch(
  directory: string,
  what: string,
  totalBytes: number | undefined,
  onProgress: ImportOptions['onProgress'],
): () => void {
  const tell = async () => {
    const names = await readdir(directory).catch(() => []);
    const sizes = await Promise.all(names.map(async (name) => (await stat(join(directory, name))).size)).catch(
      () => [],
    );
    const doneBytes = sizes.reduce((sum, size) => sum + size, 0);
    onProgress?.({ what, doneBytes, ...(totalBytes === undefined ? {} : { totalBytes }) });
  };
  if (!onProgress) return () => {};
  void tell();
  const timer = setInterval(() => void tell(), progressMs);
  return () => clearInterval(timer);
}

/** What skopeo says, as far as it is known, and what to do. */
function registryError(source: string, error: unknown): CloudosError {
  const text = messageOf(error);
  const said = [...text.matchAll(/msg="((?:[^"\\]|\\.)*)"/g)].at(-1)?.[1]?.replaceAll('\\"', '"') ?? text;
  const told = (code: ConstructorParameters<typeof CloudosError>[0], remedy?: string) =>
    new CloudosError(code, `${source}: ${said}`, { cause: error, ...(remedy === undefined ? {} : { remedy }) });
  if (/server gave HTTP response to HTTPS client|x509:|tls:/.test(said)) {
    return told('REGISTRY_UNREACHABLE', 'where you trust the way to the registry: --insecure-registry');
  }
  if (/manifest unknown|name unknown|not found/.test(said)) {
    return told('IMAGE_NOT_FOUND', 'check the name, the tag or the digest');
  }
  if (/did not match|digest mismatch|invalid checksum/i.test(said)) {
    return told('IMAGE_CORRUPT', 'the registry holds other bytes than it says: push the image again');
  }
  if (/unauthorized|authentication required|denied/.test(said)) return told('PERMISSION_DENIED', 'skopeo login');
  if (/pinging container registry|dial tcp|connection refused|no such host|timeout|was ended by/.test(said)) {
    return told('REGISTRY_UNREACHABLE');
  }
  if (/no space left on device/.test(said)) return told('DISK_FULL');
  return told('HOST_COMMAND_FAILED');
}

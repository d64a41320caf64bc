import { z } from 'zod';

/** Media types and annotations of the OCI image specification 1.1, and those of our own for what is no root file system. */
export const mediaTypes = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  empty: 'application/vnd.oci.empty.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
  layerGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  layerZstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
  unikernel: 'application/vnd.cloudos.unikernel.v1',
  unikernelElf: 'application/vnd.cloudos.unikernel.v1.elf',
  disk: 'application/vnd.cloudos.disk.v1',
  diskQcow2: 'application/vnd.cloudos.disk.v1.qcow2',
  diskRaw: 'application/vnd.cloudos.disk.v1.raw',
  diskKernel: 'application/vnd.cloudos.disk.v1.kernel',
  diskInitrd: 'application/vnd.cloudos.disk.v1.initrd',
} as const;

/** Of the manifest of a disk: `true` where machines may be copies of one that has booted from it. */
export const clonableAnnotation = 'io.cloudos.disk.clonable';
/** Of the manifest of a disk: what the kernel beside it is started with. */
export const commandLineAnnotation = 'io.cloudos.disk.command-line';
export const referenceAnnotation = 'org.opencontainers.image.ref.name';
/** When the descriptor was put into the index, ISO 8601. */
export const importedAnnotation = 'org.opencontainers.image.created';

const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/, 'sha256 and 64 hex digits');
const annotations = z.record(z.string(), z.string());

export const platform = z.looseObject({ architecture: z.string(), os: z.string(), variant: z.string().optional() });

export const descriptor = z.looseObject({
  mediaType: z.string(),
  digest,
  size: z.int().nonnegative(),
  annotations: annotations.optional(),
  platform: platform.optional(),
});
export type Descriptor = z.infer<typeof descriptor>;

export const imageIndex = z.looseObject({
  schemaVersion: z.literal(2),
  mediaType: z.string().optional(),
  manifests: z.array(descriptor),
});
export type ImageIndex = z.infer<typeof imageIndex>;

export const imageManifest = z.looseObject({
  schemaVersion: z.literal(2),
  mediaType: z.string().optional(),
  artifactType: z.string().optional(),
  config: descriptor,
  layers: z.array(descriptor),
  annotations: annotations.optional(),
});
export type ImageManifest = z.infer<typeof imageManifest>;

/** What an image says about how it is run. Docker writes `null` for what is not there. */
const run = z.looseObject({
  User: z.string().nullish(),
  ExposedPorts: z.record(z.string(), z.unknown()).nullish(),
  Env: z.array(z.string()).nullish(),
  Entrypoint: z.array(z.string()).nullish(),
  Cmd: z.array(z.string()).nullish(),
  WorkingDir: z.string().nullish(),
  StopSignal: z.string().nullish(),
  Labels: annotations.nullish(),
});

export const imageConfig = z.looseObject({
  architecture: z.string(),
  os: z.string(),
  created: z.string().nullish(),
  config: run.nullish(),
  rootfs: z.looseObject({ type: z.literal('layers'), diff_ids: z.array(digest) }),
});
export type ImageConfig = z.infer<typeof imageConfig>;

/** The name of this machine's processor in images (GOARCH). */
export function ociArchitecture(arch: string = process.arch): string {
  const names: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386', arm64: 'arm64', arm: 'arm' };
  return names[arch] ?? arch;
}

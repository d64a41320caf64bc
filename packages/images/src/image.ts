import type { ImageConfig, ImageManifest } from './oci.ts';

/** How the program of an image is run, where the image says so. */
export interface ImageProgram {
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly workingDir: string;
  /** As in the image: a name or number, with a group after a colon. Empty: root. */
  readonly user: string;
  readonly exposedPorts: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

interface Stored {
  /** As it was asked for, in normal form. */
  readonly reference: string;
  /** Of the manifest: names the image whatever its references. */
  readonly digest: string;
  /** Of everything that is stored for it. */
  readonly sizeBytes: number;
  readonly manifest: ImageManifest;
}

export interface StoredContent {
  readonly digest: string;
  readonly size: number;
  readonly mediaType: string;
}

/** A root file system in layers, with what is run in it. */
export interface OciImage extends Stored {
  readonly kind: 'oci';
  readonly architecture: string;
  readonly config: ImageConfig;
  readonly program: ImageProgram;
  readonly layers: readonly StoredContent[];
}

/** An application linked with a library OS: an ELF file that a virtual machine boots. */
export interface UnikernelImage extends Stored {
  readonly kind: 'unikernel';
  readonly elf: StoredContent;
}

/** A kernel that lies beside a disk and is started by the machine itself, without firmware and boot loader. */
export interface DiskBoot {
  readonly kernel: StoredContent;
  readonly initrd?: StoredContent;
  readonly commandLine: string;
}

/** The disk of a virtual machine. */
export interface DiskImage extends Stored {
  readonly kind: 'disk';
  readonly format: 'qcow2' | 'raw';
  readonly disk: StoredContent;
  /** Absent: the disk boots by itself, as a PC's does. */
  readonly boot?: DiskBoot;
  /** A boot gives the system nothing that only one machine may have (keys, an id): machines may be copies of one. */
  readonly clonable: boolean;
}

/** The userland of the host, read-only. */
export interface HostImage {
  readonly kind: 'host';
  readonly reference: 'host:';
}

export type StoredImage = OciImage | UnikernelImage | DiskImage;
export type Image = StoredImage | HostImage;

export const imageKinds = ['oci', 'unikernel', 'disk', 'host'] as const;
export type ImageKind = (typeof imageKinds)[number];

/** What is said about an image in a list. */
export interface ImageSummary {
  readonly reference: string;
  readonly digest: string;
  readonly kind: ImageKind;
  readonly sizeBytes: number;
  /** Of what was made from it: unpacked roots, disks. */
  readonly derived: readonly string[];
  readonly importedAt: string;
  /** Who uses it: `<runtime> <node>/<guest>`. */
  readonly holders: readonly string[];
}

export function programOf(config: ImageConfig): ImageProgram {
  const run = config.config ?? {};
  const env = (run.Env ?? []).map((line) => [line.split('=', 1)[0] ?? '', line.slice(line.indexOf('=') + 1)] as const);
  return {
    entrypoint: run.Entrypoint ?? [],
    cmd: run.Cmd ?? [],
    env: Object.fromEntries(env),
    workingDir: run.WorkingDir || '/',
    user: run.User ?? '',
    exposedPorts: Object.keys(run.ExposedPorts ?? {}),
    labels: run.Labels ?? {},
  };
}

/**
 * The command line of a guest: what the template gives replaces what the image gives, as `docker run` and Kubernetes do
 * it: a command replaces the entry point and drops the image's arguments, arguments replace those alone.
 */
export function commandLine(
  template: { readonly command?: readonly string[] | undefined; readonly args?: readonly string[] | undefined },
  program: Pick<ImageProgram, 'entrypoint' | 'cmd'>,
): string[] {
  if (template.command && template.command.length > 0) return [...template.command, ...(template.args ?? [])];
  const args = template.args && template.args.length > 0 ? template.args : program.cmd;
  return [...program.entrypoint, ...args];
}

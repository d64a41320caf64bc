import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { type CheckedMount, checkMounts, findTool } from '@cloudos/host-tools';
import { commandLine, type ImageProgram, type ImageStore, rootDirectory } from '@cloudos/images';
import { CloudosError, type GuestSpec } from '@cloudos/sdk';
import type { HostAbilities } from './host-probe.ts';
import type { Toolbox, ZoneTool } from './toolbox.ts';
import { inRoot, protectiveMounts, type Userland, type ZoneMount } from './userland.ts';
import { hostNameOf } from './zone-name.ts';
import { brandOf, zoneLimits } from './zone-options.ts';

/** What the root of a zone is made of, and what is run in it. */
export interface ZoneRoot {
  /** Directories below the zone's own, the topmost first. */
  readonly lower: readonly string[];
  readonly mounts: readonly ZoneMount[];
  /** Words that run a tool in the zone. */
  readonly tool: (name: ZoneTool) => readonly string[];
  /** Words in front of a program that put it under the filter of system calls. */
  readonly seccomp: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly command: readonly string[];
  readonly user: number;
  readonly workingDir: string;
  /** A terminal is the host's, because the zone has no tool to make one. */
  readonly terminalOfHost: boolean;
}

export interface RootParts {
  readonly stateDir: string;
  readonly abilities: HostAbilities;
  readonly userland: Userland;
  readonly toolbox: Toolbox;
  readonly images: ImageStore;
  readonly hostPaths: readonly string[];
}

const imagePath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** @throws CloudosError IMAGE_NOT_FOUND, IMAGE_CORRUPT, IMAGE_UNSUITABLE, GUEST_SPEC_INVALID, HOST_PATH_FORBIDDEN, DISK_FULL */
export async function zoneRoot(parts: RootParts, spec: GuestSpec, digest: string | undefined): Promise<ZoneRoot> {
  const mounts = await checkMounts(spec.template.mounts, parts.hostPaths);
  const root = digest === undefined ? ofHost(parts, spec) : await ofImage(parts, spec, digest);
  const { userland, toolbox, abilities } = parts;
  const given = mounts.map(({ hostPath, target, readOnly }) =>
    userland.bind(hostPath, target, `bind,nosuid,nodev${readOnly ? ',ro' : ''}`),
  );
  const base = digest === undefined ? userland.base : userland.overImage;
  return {
    ...root,
    seccomp: toolbox.seccomp,
    mounts: [...root.mounts, ...userland.kernel, ...protectiveMounts(base, !abilities.rootless), ...given],
  };
}

type Base = Omit<ZoneRoot, 'seccomp'>;

function ofHost({ abilities, toolbox, userland }: RootParts, spec: GuestSpec): Base {
  const { template } = spec;
  const user = template.user ?? 0;
  const writable = brandOf(template) === 'whole-root';
  return {
    lower: [toolbox.filterLayer, userland.base],
    mounts: writable
      ? userland.ownPrograms.map(({ name, lower, target }) => ({
          source: 'overlay',
          target,
          type: 'overlay',
          options: `lowerdir=${lower},upperdir=%/${name},workdir=%/${name}-work,nosuid,nodev${abilities.rootless ? ',userxattr' : ''}`,
        }))
      : userland.programs,
    tool: (name) => [name === 'sh' ? '/bin/sh' : (findTool(name) ?? `/usr/bin/${name}`)],
    env: { PATH: userland.path, HOME: user === 0 ? '/root' : '/', HOSTNAME: hostNameOf(spec) },
    command: commandLine(template, { entrypoint: [], cmd: [] }),
    user,
    workingDir: template.workingDir ?? '/',
    terminalOfHost: false,
  };
}

async function ofImage({ images, toolbox, userland }: RootParts, spec: GuestSpec, digest: string): Promise<Base> {
  const { instance, template } = spec;
  const image = await images.resolve(digest);
  if (image.kind !== 'oci') throw unsuitable(instance, template.image, image.kind);
  const { tool } = toolbox;
  if (!tool) {
    throw new CloudosError('RUNTIME_UNAVAILABLE', 'the tools of this host do not run outside of its userland', {
      remedy: 'use the image host:',
    });
  }
  const root = await rootDirectory(images, image);
  const { program } = image;
  const user = template.user ?? userOf(root, program);
  return {
    lower: [toolbox.toolsLayer, userland.overImage, root],
    mounts: [],
    tool,
    env: { PATH: imagePath, HOME: user === 0 ? '/root' : '/', HOSTNAME: hostNameOf(spec), ...program.env },
    command: commandLine(template, program),
    user,
    workingDir: template.workingDir ?? program.workingDir,
    terminalOfHost: true,
  };
}

/** The digest of the image of a zone; undefined for the userland of the host. */
export async function imageDigest(images: ImageStore, { instance, template }: GuestSpec): Promise<string | undefined> {
  const brand = brandOf(template);
  if ((template.image === 'host:') !== (brand !== 'lx')) {
    throw new CloudosError(
      'GUEST_SPEC_INVALID',
      `${instance}: the brand ${brand} does not go with the image ${template.image}`,
      { remedy: 'sparse and whole-root zones have host:, lx zones an OCI image' },
    );
  }
  if (template.image === 'host:') return undefined;
  const image = await images.resolve(template.image);
  if (image.kind === 'oci') return image.digest;
  throw unsuitable(instance, template.image, image.kind);
}

function unsuitable(instance: string, image: string, kind: string): CloudosError {
  return new CloudosError(
    'IMAGE_UNSUITABLE',
    `${instance}: ${image} is a ${kind} image; zones run OCI images and host:`,
  );
}

/** The number of the user that an image names. Groups of it are not used: a zone's programs have the group of their user. */
function userOf(root: string, { user }: ImageProgram): number {
  const name = user.split(':')[0] ?? '';
  if (name === '') return 0;
  if (/^\d+$/.test(name)) return Number(name);
  const line = readText(join(root, 'etc/passwd'))
    .split('\n')
    .find((entry) => entry.startsWith(`${name}:`));
  const number = Number(line?.split(':')[2]);
  if (line !== undefined && Number.isInteger(number)) return number;
  throw new CloudosError('GUEST_SPEC_INVALID', `the image says its user is ${name}, and has no such user`, {
    remedy: 'name a user by number in the template',
  });
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** Where the zone keeps what it writes, relative to its directory: on a disk of its own where that is limited. */
export function writtenTo(spec: GuestSpec): 'disk' | '.' {
  return zoneLimits(spec.template).diskBytes > 0 && !spec.template.readOnlyRoot ? 'disk' : '.';
}

/** What is mounted for a zone, in order: its disk if it has one, its root, and what lies over that. Targets are paths of the host. */
export function zoneMounts(parts: RootParts, root: ZoneRoot, spec: GuestSpec, directory: string): ZoneMount[] {
  const { abilities } = parts;
  const target = join(directory, 'root');
  const place = writtenTo(spec);
  const lower = ['own', ...root.lower.map((path) => relative(directory, path))].join(':');
  const layers = spec.template.readOnlyRoot
    ? `ro,lowerdir=${lower}`
    : `lowerdir=${lower},upperdir=${place}/upper,workdir=${place}/work`;
  const flags = `nosuid,nodev${abilities.rootless ? ',userxattr' : ''}`;
  const disk = { source: join(directory, 'disk.img'), target: join(directory, 'disk'), type: 'ext4' };
  return [
    ...(place === 'disk' ? [{ ...disk, options: 'loop,nosuid,nodev' }] : []),
    ...(abilities.overlay ? [{ source: 'overlay', target, type: 'overlay', options: `${layers},${flags}` }] : []),
    ...root.mounts.map((mount) => inRoot({ ...mount, options: mount.options.replaceAll('%', place) }, target)),
  ];
}

/** Makes the layer of the zone's own: its names, and a place for each mount that no link of the image leads away. */
export function makeMountPoints(own: string, mounts: readonly CheckedMount[]): void {
  for (const { target, directory } of mounts) {
    const point = join(own, target);
    mkdirSync(directory ? point : dirname(point), { recursive: true, mode: 0o755 });
    if (!directory) writeFileSync(point, '', { flag: 'a' });
  }
}

import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/**
 * What the tests and the default stack use beside Node.js: the Debian package, its commands or files, and what for. Where a
 * release of Debian has one in its backports alone, that is said.
 */
export const components = [
  { package: 'util-linux', commands: ['unshare', 'nsenter', 'setpriv'], purpose: 'namespaces of zones' },
  { package: 'mount', commands: ['mount', 'umount'], purpose: 'file systems of zones, and a small disk for the log' },
  { package: 'bsdutils', commands: ['script'], purpose: 'terminals in zones' },
  { package: 'iproute2', commands: ['ip'], purpose: 'network interfaces of zones' },
  { package: 'gcc', commands: ['gcc'], purpose: 'test programs of guests, the unikernel, the agent of tiny machines' },
  { package: 'libc6-dev', commands: [], files: ['/usr/include/stdio.h'], purpose: 'the test programs of guests' },
  { package: 'busybox-static', commands: ['busybox'], purpose: 'the userland of test images' },
  { package: 'squashfs-tools', commands: ['mksquashfs'], purpose: 'disks of images for virtual machines' },
  { package: 'xz-utils', commands: ['xz'], purpose: 'compressed images' },
  { package: 'zstd', commands: ['zstd'], purpose: 'compressed images' },
  { package: 'procps', commands: ['ps'], purpose: 'processes as the tests see them from outside' },
  { package: 'lxd', commands: ['lxd'], purpose: 'an LXD daemon for guests' },
  {
    package: 'incus-base',
    commands: [],
    files: ['/usr/libexec/incus/incusd'],
    backports: true,
    purpose: 'an Incus daemon for guests',
  },
  { package: 'docker.io', commands: ['dockerd'], purpose: 'a Docker Engine for guests' },
  { package: 'btrfs-progs', commands: ['mkfs.btrfs', 'btrfs'], purpose: 'limits of disk for guests of Docker and LXD' },
  { package: 'qemu-system-x86', commands: ['qemu-system-x86_64'], purpose: 'unikernels and virtual machines' },
  { package: 'qemu-utils', commands: ['qemu-img'], purpose: 'disks of virtual machines' },
  { package: 'genisoimage', commands: ['genisoimage'], purpose: 'seeds of virtual machines' },
  { package: 'mmdebstrap', commands: ['mmdebstrap'], purpose: 'the image of a virtual machine for tests' },
  { package: 'e2fsprogs', commands: ['mkfs.ext4'], purpose: 'the image of a virtual machine for tests' },
  { package: 'make', commands: ['make'], purpose: 'the unikernel' },
  {
    package: 'linux-image-cloud-amd64',
    commands: [],
    files: ['/var/lib/dpkg/info/linux-image-cloud-amd64.list'],
    purpose: 'the kernel of tiny virtual machines',
  },
  { package: 'runc', commands: ['runc'], purpose: 'unikernels in containers without an engine' },
  { package: 'skopeo', commands: ['skopeo'], purpose: 'images from registries' },
  { package: 'docker-registry', commands: ['docker-registry'], purpose: 'a registry of images' },
  { package: 'curl', commands: ['curl'], purpose: 'a subscriber that knows HTTP alone' },
  { package: 'chromium', commands: ['chromium'], purpose: 'a subscriber in a browser' },
  { package: 'openssl', commands: ['openssl'], purpose: 'an authority for certificates' },
  {
    package: 'python3-websockets',
    commands: [],
    files: ['/usr/lib/python3/dist-packages/websockets/__init__.py'],
    purpose: 'a subscriber in Python',
  },
];

/** True when the command is found on the path, or where root would find it. */
export function isThere(command, path = process.env.PATH ?? '') {
  const folders = new Set([...path.split(delimiter), '/usr/sbin', '/sbin']);
  return [...folders].some((folder) => {
    try {
      accessSync(join(folder, command), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

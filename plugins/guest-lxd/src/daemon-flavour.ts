import { existsSync } from 'node:fs';
import { findTool } from '@cloudos/host-tools';

/** Daemons that speak the API of this plugin: LXD, and Incus, which was made of LXD 5.16. */
export const flavours = ['lxd', 'incus'] as const;
export type Flavour = (typeof flavours)[number];

/** What is not the same with the two, apart from what each of them says over its API. */
export interface DaemonFlavour {
  readonly flavour: Flavour;
  /** What its daemon is called. */
  readonly name: string;
  /** The daemon's program, absolute. */
  readonly program: string | undefined;
  /** Environment variable with the directory that the daemon keeps everything in. */
  readonly directoryVariable: string;
  /** Environment variable with the directory in which it looks for snippets for LXC. */
  readonly templatesVariable: string;
  /** Where a daemon that a package of the system has started listens; the first is that of Debian. */
  readonly sockets: readonly string[];
  /** Group whose members may use a shared daemon. */
  readonly group: string;
  readonly remedy: string;
}

/** Incus keeps its daemon out of the path: Debian's, and that of its makers' packages. */
const incusPrograms = ['/usr/libexec/incus/incusd', '/opt/incus/bin/incusd'];

/** Of that flavour, as this machine has it. */
export function daemonFlavour(flavour: Flavour): DaemonFlavour {
  if (flavour === 'incus') {
    return {
      flavour,
      name: 'incusd',
      program: findTool('incusd') ?? incusPrograms.find((path) => existsSync(path)),
      directoryVariable: 'INCUS_DIR',
      templatesVariable: 'INCUS_LXC_TEMPLATE_CONFIG',
      sockets: ['/var/lib/incus/unix.socket', '/run/incus/unix.socket'],
      group: 'incus-admin',
      remedy: 'apt-get install incus-base',
    };
  }
  return {
    flavour,
    name: 'lxd',
    program: findTool('lxd'),
    directoryVariable: 'LXD_DIR',
    templatesVariable: 'LXD_LXC_TEMPLATE_CONFIG',
    sockets: ['/var/lib/lxd/unix.socket', '/var/snap/lxd/common/lxd/unix.socket'],
    group: 'lxd',
    remedy: 'apt-get install lxd',
  };
}

/** Where a shared daemon is found: of that flavour, or of the one that there is, LXD first. */
export function sharedSocket(flavour: Flavour | undefined): string {
  const sockets = (flavour ? [flavour] : flavours).flatMap((each) => daemonFlavour(each).sockets);
  return sockets.find((path) => existsSync(path)) ?? sockets[0] ?? '';
}

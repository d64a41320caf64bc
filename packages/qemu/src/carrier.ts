import type { ProcessIdentity } from '@cloudos/host-tools';
import type { GuestStats, ResourceVector } from '@cloudos/sdk';
import type { MachineMounts } from './mounts.ts';

/** One run of QEMU for a guest. Paths in `args` are relative to the machine's directory, or those of `files`. */
export interface QemuLaunch {
  /** Name of the guest's directory, control groups and container. */
  readonly name: string;
  /** The guest's directory. QEMU works in `m` below it, and owns nothing else. */
  readonly directory: string;
  /** Tells this run from every other. */
  readonly launch: string;
  readonly args: readonly string[];
  /** Opened for reading before privileges are dropped: `/dev/fd/3` and on. At most 7. */
  readonly files: readonly string[];
  /** The chardev `console` is kept in a file of its own. */
  readonly console?: boolean;
  /** Containers whose output is kept in directories of their own, from `out1` and `err1` on. */
  readonly containers?: readonly string[];
  /** Served beside QEMU, on the socket `../fs/socket`. */
  readonly mounts?: MachineMounts;
  /** Of QEMU itself: its memory with the guest's in it, its processor time. 0: no limit. */
  readonly limits: ResourceVector;
  readonly requests: ResourceVector;
  /** Interface that QEMU attaches the guest's card to, already made. */
  readonly tap?: string;
  /** Resolves when that is there: everything else is made ready meanwhile. */
  readonly plugged?: Promise<void>;
  /** TCP ports of the guest that QEMU listens on for it, where there is no tap. */
  readonly ports: readonly number[];
}

/** How a run ended: exit status as sh has it (128 + n for signal n), or `lost`: nobody saw it. */
export interface QemuEnd {
  readonly status: number | 'lost';
  readonly oomKills: number;
}

/** A run as the carrier sees it now. `unborn`: it was begun and did not come to run. */
export type QemuRun =
  | { readonly phase: 'running'; readonly process?: ProcessIdentity }
  | { readonly phase: 'ended'; readonly end: QemuEnd }
  | { readonly phase: 'unborn' };

/**
 * What QEMU runs in: the host as it is, an OCI container, a container of an engine. Runs outlive the driver. All of its
 * truth is on disk and in processes (or in the engine); each call may follow a crash in the middle of any other.
 */
export interface Carrier {
  readonly kind: string;
  /** QEMU has a network namespace of its own: a tap is made there when it runs. */
  readonly ownNetwork: boolean;
  /** Starts QEMU. Resolves when it was begun; whether it lives is told by {@link look}. */
  launch(run: QemuLaunch): Promise<void>;
  /** QEMU answers: it holds its consoles now. */
  began?(name: string): void;
  look(name: string, launch: string): Promise<QemuRun>;
  /** Ends QEMU at once. */
  kill(name: string): Promise<void>;
  /** Leaves no process, control group or container of the guest. Its files stay. */
  clear(name: string): Promise<void>;
  stats(name: string): Promise<GuestStats>;
  /** Calls back when a guest may have ended. Returns how to stop. */
  watch(ended: (name: string) => void): () => void;
  /** What QEMU said on its standard error in the last run, at most 2,000 characters. */
  lastWords(name: string): Promise<string>;
  /** Removes what belongs to the node and not to one guest. */
  purge(): Promise<void>;
}

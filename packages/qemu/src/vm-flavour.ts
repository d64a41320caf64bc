import type { ExecRequest, ExecSession, GuestExit, GuestSpec, GuestStats, Probe, ProbeResult } from '@cloudos/sdk';
import type { QemuEnd } from './carrier.ts';
import type { MachineMounts } from './mounts.ts';
import type { QmpClient } from './qmp.ts';
import type { VmState } from './vm-state.ts';

/** A virtual machine as a flavour is told about it. */
export interface Vm {
  /** Name of its directory. */
  readonly name: string;
  readonly directory: string;
  readonly state: VmState;
}

/** How a virtual machine is made. The driver adds monitor, consoles (chardevs `out` and `err`) and netdev `n0`. */
export interface Machine {
  readonly args: readonly string[];
  /** Opened for reading: `/dev/fd/3` and on in `args`. At most 7. */
  readonly files: readonly string[];
  /** What QEMU needs in all: the guest's memory and its own. */
  readonly memoryBytes: number;
  /** Files in the machine's directory that are part of its state beside the memory. */
  readonly disks: readonly string[];
  /** Machines of the same shape can take each other's snapshots. */
  readonly shape: string;
  /** The carrier keeps what the chardev `console` (a pipe of that name) gets, in a file beside the logs. */
  readonly console?: boolean;
  /** Containers beside the first: what they write comes out of the chardevs `out1` and `err1`, `out2` and `err2`, and so on. */
  readonly containers?: readonly string[];
  /** Paths of the node that it sees, through a device `vhost-user-fs` on the chardev `fs`; its memory has to be shared. */
  readonly mounts?: MachineMounts;
  /** QEMU is started to take a state over: the flavour does so in `started`. */
  readonly incoming?: boolean;
  /** False: the card offers the guest no help of the tap (checksums, segmentation). Default true. */
  readonly offloads?: boolean;
}

/** What one runtime on QEMU adds to {@link VmDriver}. Keeps nothing about guests but what can be made anew. */
export interface VmFlavour {
  readonly runtime: string;
  /** Guests may have several containers; otherwise the driver refuses those that do. */
  readonly pods?: boolean;
  /** Checks what is asked for and finds the image. What it returns is kept with the guest. @throws CloudosError */
  admit(spec: GuestSpec): Promise<Readonly<Record<string, unknown>>>;
  /** Fills the directory of a guest that is being created. */
  fill?(vm: Vm): Promise<void>;
  /** A guest is being removed: give back what was taken for it. */
  removed?(vm: Vm): Promise<void>;
  /** Called before each run: writes what the machine needs and depends on its address. */
  prepare?(vm: Vm): Promise<void>;
  machine(vm: Vm): Promise<Machine>;
  /** QEMU answers; the guest begins, or goes on from a snapshot. Resolves when the guest's program runs. */
  started?(vm: Vm, qmp: QmpClient, resumed: boolean, isAlive: () => Promise<boolean>): Promise<void>;
  /** A running guest is taken over from an earlier driver. */
  adopted?(vm: Vm): Promise<void>;
  /** Asks the guest to end. Failures are of no consequence: it is killed after the grace. */
  askToStop(vm: Vm): Promise<void>;
  /** Sends a signal to the program of a container beside the first. Where there are `pods`. */
  signalContainer?(vm: Vm, index: number, signal: 'SIGTERM' | 'SIGKILL'): Promise<void>;
  /** What the end of QEMU means for the guest. */
  explain(vm: Vm, end: QemuEnd): Promise<Omit<GuestExit, 'instance' | 'attempt'>>;
  /** The run is over, whatever its end. */
  ended?(name: string): void;
  exec?(vm: Vm, request: ExecRequest): Promise<ExecSession>;
  stats?(vm: Vm, outside: GuestStats): Promise<GuestStats>;
  probe?(vm: Vm, probe: Probe): Promise<ProbeResult>;
  /** A state is about to be saved: quiet down what is connected from outside. */
  beforeSnapshot?(vm: Vm): Promise<void>;
  /** Closes what is open; guests go on. */
  detach?(): void;
  /** Removes what belongs to the node and not to one guest. */
  purge?(): Promise<void>;
}

import type { Observable } from 'rxjs';
import type { z } from 'zod';
import type { exitReason } from '../events/node.events.ts';
import type { GuestLimits, GuestTemplate, Probe } from '../workload.ts';

/** What one guest shall be: a template and a name. The instance id is the guest's name at the runtime as well. */
export interface GuestSpec {
  readonly instance: string;
  readonly workload: string;
  readonly node: string;
  readonly template: GuestTemplate;
}

/** Whether the runtime can run here; if not, why, and the command that would change it. */
export type GuestFingerprint =
  | {
      readonly available: true;
      /** Name by which templates ask for the runtime. */
      readonly runtime: string;
      readonly version: string;
      /** What it offers here: `{ memoryLimit: true, rootless: false, … }`. */
      readonly features: Readonly<Record<string, boolean | string | number>>;
      /** What works only in part here, and what would change it. */
      readonly warnings: readonly { readonly reason: string; readonly remedy: string }[];
    }
  | { readonly available: false; readonly runtime: string; readonly reason: string; readonly remedy: string };

export type GuestState = 'created' | 'running' | 'paused' | 'exited';
export type ExitReason = z.infer<typeof exitReason>;

export interface GuestAddress {
  readonly host: string;
  /** Port of the template → port at `host`, for those that differ. */
  readonly ports?: Readonly<Record<string, number>>;
}

/** A guest as the driver sees it now. */
export interface GuestStatus {
  readonly instance: string;
  readonly state: GuestState;
  /** Which run: what `start` was told. 0 before the first. */
  readonly attempt: number;
  readonly runtime: string;
  /** Opaque to everything but the driver (and its other versions): plain data, survives in the log. */
  readonly handle: unknown;
  readonly pid?: number;
  readonly address?: GuestAddress;
  /** Of the last run, when `exited`. */
  readonly exit?: GuestExit;
  /** Of a guest that runs: its containers beside the first. */
  readonly containers?: readonly GuestContainerStatus[];
}

/** A container beside the first of a guest. */
export interface GuestContainerStatus {
  readonly name: string;
  /** `waiting`: it will be run again. `ended`: it will not, in this run of the guest. */
  readonly state: 'running' | 'waiting' | 'ended';
  /** How often it was run again in this run of the guest. */
  readonly restarts: number;
  /** How its last run that ended did. */
  readonly exit?: Omit<GuestExit, 'instance' | 'attempt'>;
  /** Between that end and the next run, while it waits. */
  readonly backOffMs?: number;
}

/** A container beside the first has ended, or runs again. */
export interface GuestContainerChange extends GuestContainerStatus {
  readonly instance: string;
  readonly attempt: number;
}

export interface GuestExit {
  readonly instance: string;
  readonly attempt: number;
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly reason: ExitReason;
  readonly message?: string;
}

/**
 * What a runtime knows of a guest without asking it: whether it can go on. One that cannot is held (no program of it runs)
 * until what is said here has changed; starting it anew would not help.
 */
export type GuestHealth =
  | { readonly instance: string; readonly attempt: number; readonly ok: true }
  | {
      readonly instance: string;
      readonly attempt: number;
      readonly ok: false;
      /** Of the table of error codes: DISK_FULL, … */
      readonly code: string;
      readonly reason: string;
      readonly remedy: string;
    };

export interface ExecRequest {
  /** Which container of the guest, where it has several. Absent: the first. */
  readonly container?: string;
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly workingDir?: string;
  readonly tty?: { readonly columns: number; readonly rows: number };
}

/** A command running in a guest. Output is merged in order of arrival; with a tty, all of it is `stdout`. */
export interface ExecSession {
  readonly output: Observable<OutputChunk>;
  readonly exitCode: Promise<number>;
  write(data: Uint8Array): Promise<void>;
  /** Closes standard input. */
  end(): void;
  resize(columns: number, rows: number): void;
  /**
   * Kills the command (SIGKILL), and what it has started where the runtime can name that. Within 5 s the exit code is
   * there and the output over, also where processes that live on hold it open.
   */
  kill(): void;
}

export interface OutputChunk {
  readonly stream: 'stdout' | 'stderr';
  readonly data: Uint8Array;
}

export interface LogRequest {
  /** Which container of the guest, where it has several. Absent: the first. */
  readonly container?: string;
  readonly follow?: boolean;
  /** Only the last lines (per stream). */
  readonly tailLines?: number;
  /**
   * Only what was written at or after that time, in milliseconds of the epoch. Where the driver supports `logs` and not
   * `logsSince`, a request with it is refused with GUEST_UNSUPPORTED.
   */
  readonly since?: number;
  /** Ends a follow. */
  readonly signal?: AbortSignal;
}

/** Use of resources at one moment. Absent: the runtime cannot tell. */
export interface GuestStats {
  readonly cpuNanos?: number;
  readonly memoryBytes?: number;
  readonly memoryPeakBytes?: number;
  readonly pids?: number;
  /** What the guest has written and still holds: its own root and disks, not its image. */
  readonly diskBytes?: number;
  /** Since the guest started, as the guest counts: received is what came to it. */
  readonly networkReceivedBytes?: number;
  readonly networkSentBytes?: number;
}

/** The state of a guest that was saved under a name. */
export interface GuestSnapshot {
  readonly name: string;
  readonly sizeBytes: number;
  /** True when it holds the memory of the running guest, false for disks alone. */
  readonly memory: boolean;
}

export interface ProbeResult {
  readonly ok: boolean;
  readonly message: string;
}

/**
 * Runs guests of one technology on one node. Idempotent: guests are named by instance id, so a repeated `create` or
 * `start` finds the first. Detaching (closing the plugin's scope) never touches a running guest. The optional
 * operations are there exactly where `supports` of the plugin says so (`guestSupports`).
 *
 * Errors: RUNTIME_UNAVAILABLE, GUEST_NOT_FOUND, GUEST_SPEC_INVALID, GUEST_STATE, GUEST_START_FAILED, IMAGE_NOT_FOUND,
 * IMAGE_CORRUPT, IMAGE_UNSUITABLE, COMMAND_NOT_FOUND, ADDRESSES_EXHAUSTED, NAME_TAKEN, DISK_FULL, SECRET_NOT_FOUND,
 * HOST_PATH_FORBIDDEN, SNAPSHOT_NOT_FOUND, SNAPSHOT_INVALID, GUEST_UNSUPPORTED, GUEST_UNRESPONSIVE,
 * HOST_COMMAND_FAILED, PERMISSION_DENIED.
 */
export interface GuestDriver {
  /** Emits at once, and again whenever the answer changes. */
  fingerprint(): Observable<GuestFingerprint>;
  /** Exits as they happen, those of adopted guests included. An exit while nobody watched shows in `list`. */
  readonly exits: Observable<GuestExit>;
  /** Guests that cannot go on, and that go on again. To a subscriber all that is known is told at once. */
  readonly health?: Observable<GuestHealth>;
  /** Where `pods` is supported: ends and new runs of containers beside the first. What nobody watched shows in `list`. */
  readonly containerChanges?: Observable<GuestContainerChange>;
  /**
   * Makes the guest without running it. An existing one of that name is returned as it is. NAME_TAKEN when the runtime
   * has something of that name which this driver did not make. A failure leaves nothing behind (DISK_FULL, IMAGE_…).
   */
  create(spec: GuestSpec): Promise<GuestStatus>;
  /**
   * Runs a created or exited guest. One that runs with that attempt is returned as it is. Secrets are read now.
   * @param attempt from 1; the driver remembers it and reports it with the exit
   */
  start(instance: string, attempt: number): Promise<GuestStatus>;
  /** Asks politely, kills after the grace. Resolves when it does not run; at once when it did not. */
  stop(instance: string, graceMs: number): Promise<GuestExit | undefined>;
  /** Kills it if it runs, and removes everything of it from the node, its snapshots too. Absent already: no error. */
  remove(instance: string): Promise<void>;
  /** Every guest that this driver (or an earlier one over the same data) made on the node. */
  list(): Promise<readonly GuestStatus[]>;
  /** Takes over a guest that another generation or version of the driver left. */
  adopt(handle: unknown): Promise<GuestStatus>;
  /**
   * Where `pods` is supported: asks a container beside the first to end, and kills it after the grace. It is told as an end
   * like any other, and run again as `restart` of the template says. Resolves when that run is over; at once when it does
   * not run. GUEST_NOT_FOUND for the first container and for none.
   */
  endContainer?(instance: string, container: string, graceMs: number): Promise<void>;
  exec(instance: string, request: ExecRequest): Promise<ExecSession>;
  logs(instance: string, request: LogRequest): AsyncIterable<OutputChunk>;
  stats(instance: string): Promise<GuestStats>;
  /** For guests that cannot be reached over the host's network. Without it the node agent probes by address and exec. */
  probe?(instance: string, probe: Probe): Promise<ProbeResult>;
  pause?(instance: string): Promise<void>;
  resume?(instance: string): Promise<void>;
  /**
   * Other limits for a guest, at once if it runs, and for its next runs. All of them or none: GUEST_UNSUPPORTED for one
   * that only a new guest can take, GUEST_STATE for one that is below what the guest uses, GUEST_SPEC_INVALID for one that
   * cannot be. The same limits again: no error.
   */
  resize?(instance: string, limits: GuestLimits): Promise<GuestStatus>;
  /** Saves the state under a name, replacing an earlier snapshot of that name. The guest goes on as it was. */
  snapshot?(instance: string, name: string): Promise<GuestSnapshot>;
  /**
   * Puts the guest back to a snapshot. With memory: it runs on from there, with the attempt that it has. Without: its
   * disks are put back; a guest that ran is stopped for it (an exit with the reason `stopped`) and is to be started with
   * the next attempt.
   */
  restore?(instance: string, name: string): Promise<GuestStatus>;
  /** A snapshot as a stream of bytes that `import` of a driver of that runtime takes, on this node or another one. */
  export?(instance: string, snapshot: string): AsyncIterable<Uint8Array>;
  /**
   * Makes a guest with the exported state. It is `created`; `start` lets it run on from that state, in memory too where
   * the snapshot has it. SNAPSHOT_INVALID when the data is cut off, damaged or of another runtime; nothing is left then.
   */
  import?(spec: GuestSpec, data: AsyncIterable<Uint8Array>): Promise<GuestStatus>;
  /** Removes every guest and whatever else the driver made on the node (interfaces, control groups, directories). */
  purge(): Promise<void>;
}

import type { GuestExit, GuestSpec } from '@cloudos/sdk';

/** What is written down about a guest. What it does now is told by the daemon, of the instance that is named here. */
export interface GuestRecord {
  readonly version: 1;
  readonly spec: GuestSpec;
  /** Of the instance at the daemon. */
  readonly name: string;
  /** Of the image in the store, held for the guest. */
  readonly digest: string;
  /**
   * The command line that the guest is to run. Absent: the image is a whole machine, whose own init boots it.
   */
  readonly program?: {
    readonly command: readonly string[];
    readonly env: Readonly<Record<string, string>>;
    readonly workingDir: string;
  };
  /** The last attempt that came to run; 0 before the first. */
  readonly attempt: number;
  /** The attempt that was asked to end. */
  readonly stopping?: number;
  /** On the node's network. */
  readonly address?: string;
  /** How the last run ended, where that was seen. */
  readonly exit?: GuestExit;
}

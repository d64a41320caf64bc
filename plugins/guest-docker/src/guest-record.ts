import type { GuestExit, GuestSpec } from '@cloudos/sdk';

/** What is written down about a guest. What it does now is told by the engine, of the container that is named here. */
export interface GuestRecord {
  readonly version: 1;
  readonly spec: GuestSpec;
  /** Reference of the image at the engine. */
  readonly image: string;
  /** Of the image in the store, held for the guest. */
  readonly digest?: string;
  /** The last attempt that came to run; 0 before the first. */
  readonly attempt: number;
  /** Its container. */
  readonly container?: string;
  /** The container that was asked to end. */
  readonly stopping?: string;
  /** On the node's network. Kept from one run to the next where it is still free. */
  readonly address?: string;
  /** How the last run ended, where that was seen. */
  readonly exit?: GuestExit;
}

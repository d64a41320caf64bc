import type { Residents } from './residents.ts';

export type NodeState = 'ready' | 'lost' | 'left';

/** What is not needed while searching. */
export interface NodeFacts {
  readonly id: string;
  state: NodeState;
  cordoned: boolean;
  draining: boolean;
  /** NodeDrained was recorded since it is being drained. */
  drained: boolean;
  attributes: Readonly<Record<string, string>>;
  runtimes: ReadonlySet<string>;
  /** By port: how many instances hold it or wait for it to become free. Mostly there are none at all. */
  ports: Map<number, number> | undefined;
  /** Images of which a guest was made here; the latest last. */
  images: Set<string> | undefined;
  readonly instances: Residents;
  /** How many of them are leaving. */
  leaving: number;
  /** When it will be taken down and for how long (epoch and milliseconds), and whether it was cordoned for that. */
  maintenance: { readonly from: number; readonly durationMs: number; begun: boolean } | undefined;
}

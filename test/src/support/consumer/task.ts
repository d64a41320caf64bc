import type { ConsumeOptions } from '@cloudos/client';
import type { Keeping } from './keepers.ts';

/** What a consumer is to do in one life: a line of JSON on its standard input. */
export interface Task {
  readonly url: string;
  readonly token: string;
  /** Where it keeps what it makes of the events. */
  readonly directory: string;
  readonly keeping: Keeping;
  readonly options: Pick<ConsumeOptions, 'types' | 'protocol' | 'compression' | 'batchMax' | 'bufferMax'>;
}

/** Said on standard output when a hand-over begins, and when it has ended. */
export const marks = { begun: '<', ended: '>' } as const;

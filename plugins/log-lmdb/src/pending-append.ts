import type { SearchResult } from '@cloudos/event-log';
import type { AppendResult, ExpectedRevision, NewEvent } from '@cloudos/sdk';

/** An append that is not acknowledged yet, and what its caller will be told. */
export interface PendingAppend {
  readonly stream: string;
  readonly events: readonly NewEvent[];
  readonly at: ExpectedRevision;
  readonly resolve: (result: AppendResult) => void;
  readonly reject: (error: unknown) => void;
  /** Holds once the commit that the append is part of is on disk. */
  result: AppendResult | undefined;
  error: unknown;
  /** Ids for which the stream has to be searched first, and what was found. */
  wanted: readonly string[] | undefined;
  searched: SearchResult | undefined;
  /** Each event was measured and can be stored. */
  isMeasured: boolean;
}

/** Tells the callers, in the order of their calls. */
export function tell(appends: readonly PendingAppend[]): void {
  for (const append of appends) {
    if (append.error === undefined) append.resolve(append.result!);
    else append.reject(append.error);
  }
}

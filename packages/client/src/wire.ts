import type { ErrorBody, OrchestratorCommand, ResourcesCommand } from '@cloudos/sdk';
import type { CloudEvent } from './cloud-event.ts';

/** A command and the slot whose policy decides it: the body of `POST /v1/commands`, with an optional `id`. */
export type RemoteCommand =
  | { readonly slot: 'orchestrator'; readonly command: OrchestratorCommand }
  | { readonly slot: 'resources'; readonly command: ResourcesCommand };

/** Answer of `GET /v1/events`. */
export interface EventsPage {
  readonly events: readonly CloudEvent[];
  /** Position of the last event of the log when it was read, -1 for the empty log. */
  readonly head: number;
  /** `from` of the next page in the same direction; absent when the range is exhausted. */
  readonly next?: number;
}

/** One line of `GET /v1/instances/:id/logs` with `Accept: application/x-ndjson`. */
export type LogLine =
  | { readonly stream: 'stdout' | 'stderr' /** base64 */; readonly data: string }
  | { readonly error: ErrorBody };

/** One line of `POST /v1/down`; the last one is `done` or `error`. */
export type DownLine = { readonly progress: string } | { readonly done: true } | { readonly error: ErrorBody };

/** The most events in one page. */
export const eventsPageMax = 1_000;

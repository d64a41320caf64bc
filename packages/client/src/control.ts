import type { ClusterView, ErrorBody } from '@cloudos/sdk';
import type { EventFilter } from './event-filter.ts';

/** What the server tells a subscriber besides events. */
export interface ControlMarkers {
  /** Catch-up is over: everything up to `position` was delivered, what follows is delivered as it is recorded. */
  readonly Live: MarkerPosition;
  /** Nothing has happened for a while, or it did not match: the subscriber is level up to `position`. */
  readonly Heartbeat: MarkerPosition;
  /** Events that were asked for are not in the log any more: retention has removed them. Always sent. */
  readonly Gap: GapMarker;
}

export type ControlName = keyof ControlMarkers;

export interface MarkerPosition {
  /** Every matching event up to and including this one was delivered. */
  readonly position: number;
  /** Last position of the log. */
  readonly head: number;
}

export interface GapMarker {
  /** First position that was asked for and is missing. */
  readonly from: number;
  /** Last position that is missing; delivery goes on with the next one. */
  readonly to: number;
  readonly head: number;
  /** What stands in for the missing events: the state at a position not before `to`. */
  readonly snapshot: {
    /** Over the control channel. */
    readonly method: 'snapshot';
    /** Over HTTP, relative to the gateway. */
    readonly path: string;
  };
}

/** What stands before the name of a marker in the CloudEvents `type` attribute. */
export const controlTypePrefix = 'io.cloudos.control.';

/** A marker as it crosses the wire where every message is a CloudEvent. It has no position of its own. */
export type ControlEvent<Name extends ControlName = ControlName> = {
  readonly specversion: '1.0';
  readonly type: `${typeof controlTypePrefix}${Name}`;
  readonly source: string;
  readonly id: string;
  readonly time: string;
  readonly datacontenttype: 'application/json';
  readonly data: ControlMarkers[Name];
};

/** The same where control goes through JSON-RPC 2.0: a notification of the server. */
export type ControlNotification<Name extends ControlName = ControlName> = {
  readonly jsonrpc: '2.0';
  readonly method: Uncapitalize<Name>;
  readonly params: ControlMarkers[Name];
};

/** What a subscriber can ask for on its connection: requests of JSON-RPC 2.0 in text messages. */
export interface ControlMethods {
  /** Replaces the filter, from the position in the answer on. */
  readonly filter: { readonly params: EventFilter; readonly result: { readonly from: number } };
  /** Nothing is sent until `resume`. `from`: the next position that was not dealt with. */
  readonly pause: { readonly params: NoParams; readonly result: { readonly from: number } };
  readonly resume: { readonly params: NoParams; readonly result: { readonly from: number } };
  /** That many more events may be sent. The first grant ends what was unlimited before. */
  readonly credit: { readonly params: { readonly events: number }; readonly result: { readonly credit: number } };
  /**
   * Of a named subscription: what this connection was given up to `position`, or just what stands at `positions`, is done
   * with. Durable when it is answered.
   */
  readonly acknowledge: {
    readonly params: { readonly position: number } | { readonly positions: readonly number[] };
    readonly result: { readonly cursor: number };
  };
  /** The state at a position (default: the head). What comes next is delivered from `position + 1` on. */
  readonly snapshot: {
    readonly params: { readonly position?: number };
    readonly result: { readonly position: number; readonly view: ClusterView };
  };
  readonly ping: { readonly params: NoParams; readonly result: MarkerPosition };
  /** Appends private events (`x-<program>-…`) to a private stream (`x-<program>…`). Durable when it is answered. */
  readonly append: { readonly params: AppendParams; readonly result: AppendOutcome };
  /** Many appends, in their order, each for itself: what is wrong with one is its own outcome. */
  readonly appendEach: {
    readonly params: { readonly appends: readonly AppendRow[] };
    /** Those of the appends, in the same order. */
    readonly result: { readonly outcomes: readonly (AppendOutcomeRow | ControlError)[] };
  };
}

export type ControlMethod = keyof ControlMethods;
export type NoParams = Readonly<Record<string, never>>;

export interface AppendParams {
  readonly stream: string;
  /** With an id (UUIDv7) an event is recorded once, however often it is sent. */
  readonly events: readonly { readonly type: string; readonly data?: unknown; readonly id?: string }[];
  /** Revision of the last event of the stream, `none` for an empty one, `any` (the default). */
  readonly expected?: number | 'none' | 'any';
}

export interface AppendOutcome {
  /** Positions of the first and the last event. */
  readonly first: number;
  readonly last: number;
  /** Of the stream after it. */
  readonly revision: number;
  readonly duplicate: boolean;
}

/** An append as a row: the stream, its events, and what `expected` is in {@link AppendParams}. */
export type AppendRow = readonly [
  stream: string,
  events: readonly AppendEventRow[],
  expected?: NonNullable<AppendParams['expected']>,
];

/** An event as a row. */
export type AppendEventRow = readonly [type: string, data?: unknown, id?: string];

/** {@link AppendOutcome} as a row. */
export type AppendOutcomeRow = readonly [first: number, last: number, revision: number, duplicate: boolean];

export interface ControlRequest<Method extends ControlMethod = ControlMethod> {
  readonly jsonrpc: '2.0';
  readonly id?: string | number | null;
  readonly method: Method;
  readonly params?: ControlMethods[Method]['params'];
}

export type ControlResponse =
  | { readonly jsonrpc: '2.0'; readonly id: string | number | null; readonly result: unknown }
  | { readonly jsonrpc: '2.0'; readonly id: string | number | null; readonly error: ControlError };

export interface ControlError {
  /** -32700, -32600, -32601, -32602 as in JSON-RPC 2.0; -32000: see `data.code`. */
  readonly code: number;
  readonly message: string;
  readonly data?: ErrorBody;
}

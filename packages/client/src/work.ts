import { CloudosError, errorCode, messageOf, type RecordedEvent } from '@cloudos/sdk';
import { backoffMs, defaultBackoff, pause } from './backoff.ts';
import type { GapMarker } from './control.ts';
import { ControlConnection } from './control-connection.ts';
import { endOf, type FeedOptions, type FeedSource, isRetried } from './event-feed.ts';

export interface WorkOptions extends Omit<FeedOptions, 'to' | 'onLevel'> {
  /** Events that are taken without having been acknowledged. Default 256. */
  readonly inFlightMax?: number;
  /** After that long without acknowledgement an event goes to another consumer. Default 30,000. */
  readonly redeliverMs?: number;
  readonly signal?: AbortSignal;
}

/** Does what is to be done with events. What it throws leaves them unacknowledged, and ends the work with that error. */
export type Handler = (events: readonly RecordedEvent[]) => Promise<void> | void;

/**
 * Takes events of a named subscription, whose cursor the server keeps, and acknowledges them once the handler has
 * returned. Every consumer of that name gets others. At least once: an event may come again after a crash of either
 * side, or when the handler takes longer than `redeliverMs`. Resolves when the signal is aborted.
 */
export async function work(
  source: FeedSource,
  name: string,
  handler: Handler,
  options: WorkOptions = {},
): Promise<void> {
  const { signal = new AbortController().signal, retriesMax = 20, backoff = defaultBackoff } = options;
  for (let attempt = 1; !signal.aborted; attempt++) {
    const end = await session(source, name, handler, options, signal).catch((error: unknown) => {
      if (!isRetried(errorCode(error))) throw error;
      return { settled: false, opened: false, reason: messageOf(error) };
    });
    if (signal.aborted) return;
    if (end.settled) attempt = 1;
    if (!end.opened) await source.head().catch(throwUnlessRetried);
    if (attempt > retriesMax) {
      throw new CloudosError('KERNEL_UNREACHABLE', `no subscription after ${retriesMax} attempts: ${end.reason}`);
    }
    const retryInMs = backoffMs(attempt, backoff, (options.random ?? Math.random)());
    options.onConnection?.({ open: false, retryInMs, reason: end.reason });
    await pause(retryInMs, signal);
  }
}

function throwUnlessRetried(error: unknown): void {
  if (!isRetried(errorCode(error))) throw error;
}

interface Ended {
  readonly settled: boolean;
  readonly opened: boolean;
  readonly reason: string;
}

/** One connection, to its end. Rejects with what no retry can mend, and with what the handler throws. */
function session(
  source: FeedSource,
  name: string,
  handler: Handler,
  options: WorkOptions,
  signal: AbortSignal,
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    let opened = false;
    let settled = false;
    let before: Promise<unknown> = Promise.resolve();
    const { protocol = 'compact', onGap } = options;
    const fail = (error: unknown) => {
      connection.close();
      finish();
      reject(error);
    };
    const stop = () => {
      connection.close();
      finish();
      resolve({ settled, opened, reason: 'stopped' });
    };
    const finish = () => signal.removeEventListener('abort', stop);
    const handle = async (events: readonly RecordedEvent[]) => {
      if (signal.aborted) return;
      await handler(events);
      await connection.call('acknowledge', { positions: events.map(({ position }) => position) });
    };
    const connection = new ControlConnection(
      source.webSocket,
      urlOf(source, name, options),
      source.protocols(protocol),
      {
        opened: () => {
          opened = true;
          options.onConnection?.({ open: true });
        },
        events: (events) => {
          settled = true;
          // One after the other; a connection that was lost meanwhile ends by its close.
          before = before
            .then(() => handle(events))
            .catch((error: unknown) => {
              if (errorCode(error) !== 'KERNEL_UNREACHABLE') fail(error);
            });
        },
        marker: (marker, data) => {
          if (marker !== 'Gap') return;
          if (onGap) return onGap(data as GapMarker);
          const { from, to } = data as GapMarker;
          fail(
            new CloudosError('LOG_TRIMMED', `events ${from} to ${to} are not kept any more`, { details: { from, to } }),
          );
        },
        closed: ({ code, reason }) => {
          finish();
          const error = endOf(code, reason);
          if (error) reject(error);
          else resolve({ settled, opened, reason: reason || `connection closed (${code ?? 'no code'})` });
        },
      },
    );
    signal.addEventListener('abort', stop, { once: true });
  });
}

function urlOf(source: FeedSource, name: string, options: WorkOptions): string {
  const { from, types, streams, workload, node, layer, cause, inFlightMax, redeliverMs, heartbeatMs } = options;
  return source.url({
    subscription: name,
    from: from instanceof Date ? `@${from.getTime()}` : from,
    types: types?.join(','),
    streams: streams?.join(','),
    workload,
    node,
    layer,
    cause,
    inflight: inFlightMax,
    redeliverMs,
    heartbeatMs,
    deflate: options.compression ?? false,
  });
}

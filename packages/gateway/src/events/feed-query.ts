import { type EventFilter, eventLayers } from '@cloudos/client';
import type { Kernel } from '@cloudos/kernel';
import { CloudosError } from '@cloudos/sdk';
import { z } from 'zod';
import { type Principal, readable } from '../access/principal.ts';

const position = z.coerce.number().int().nonnegative();
const list = z
  .string()
  .transform((text) => text.split(',').filter((item) => item !== ''))
  .pipe(z.array(z.string().max(300)).max(100));
const name = z.string().min(1).max(300);
const flag = z.enum(['', 'true', '1', 'false', '0']).transform((text) => text !== 'false' && text !== '0');

const startExpected = 'expected a position, now, start, a time as 2026-01-31T12:00:00Z, or @<epoch ms>';

/** RFC 3339 with a date and a time, or `@` and epoch milliseconds. */
const time = z
  .string()
  .regex(/^(@\d{1,16}|\d{4}-\d\d-\d\d(T.*)?)$/)
  .transform((text, context) => {
    const timeMs = text.startsWith('@') ? Number(text.slice(1)) : Date.parse(text);
    if (Number.isFinite(timeMs)) return { timeMs };
    context.addIssue({ code: 'custom' });
    return z.NEVER;
  });

/** Conditions of a filter, as query parameters. */
export const filterQuery = {
  types: list.optional(),
  streams: list.optional(),
  workload: name.optional(),
  node: name.optional(),
  layer: z.enum(eventLayers).optional(),
  cause: z
    .string()
    .min(1)
    .max(300)
    .transform((text) => (/^\d{1,15}$/.test(text) ? Number(text) : text))
    .optional(),
};

/** Query parameters of a feed. Strict: with one that is misspelt a feed would begin elsewhere, or tell other events. */
export const feedQuery = z.strictObject({
  ...filterQuery,
  from: z
    .union(
      [
        z.enum(['now', 'start']),
        z
          .string()
          .regex(/^\d{1,15}$/)
          .transform(Number),
        time,
      ],
      startExpected,
    )
    .optional(),
  to: position.optional(),
  /** Whether Live and Heartbeat are told; the default depends on the form. */
  markers: flag.optional(),
  heartbeatMs: z.coerce.number().int().min(100).max(300_000).default(15_000),
  /** Events that may be sent before more is granted on the control channel. Default: no limit. */
  credit: z.coerce.number().int().min(0).max(1_000_000_000).optional(),
  /** Whether batches may come as they are stored (compact subprotocol). */
  stored: flag.default(true),
  /** Whether messages are compressed where the handshake offers it: whose WebSocket always does can decline. */
  deflate: flag.default(true),
  subscription: z
    .string()
    .regex(/^[a-z0-9][a-z0-9._-]{0,99}$/i, 'expected a name of letters, digits, dots and dashes')
    .optional(),
  /** Of a named subscription: events that this connection may have without having acknowledged them. */
  inflight: z.coerce.number().int().min(1).max(4_096).default(256),
  /** Of a named subscription: after that long without acknowledgement an event goes to another connection. */
  redeliverMs: z.coerce.number().int().min(100).max(3_600_000).default(30_000),
});
export type FeedQuery = z.output<typeof feedQuery>;

type Conditions = { readonly [Key in keyof EventFilter]?: EventFilter[Key] | undefined };

/** The filters that must hold: what was asked for, within what the principal may read. */
export function filtersOf(query: Conditions, principal: Principal): EventFilter {
  const { types, streams, workload, node, layer, cause } = query;
  return readable(principal, {
    ...(types && { types }),
    ...(streams && { streams }),
    ...(workload !== undefined && { workload }),
    ...(node !== undefined && { node }),
    ...(layer !== undefined && { layer }),
    ...(cause !== undefined && { cause }),
  });
}

/**
 * Where a feed begins.
 * @throws CloudosError POSITION_OUT_OF_RANGE when that lies beyond the next event: the subscriber knows another log
 */
export async function startOf(from: FeedQuery['from'], log: Kernel['log']): Promise<number> {
  const head = log.head();
  if (from === 'start') return 0;
  if (from === undefined || from === 'now') return head + 1;
  if (typeof from === 'object') return positionAt(from.timeMs, log);
  assertReached(from, head);
  return from;
}

export function assertReached(from: FeedQuery['from'], head: number): void {
  if (typeof from !== 'number' || from <= head + 1) return;
  throw new CloudosError(
    'POSITION_OUT_OF_RANGE',
    `events from ${from} were asked for, the log ends at ${head}; expected 0 to ${head + 1}, now or start`,
    { details: { from, head } },
  );
}

/**
 * The position at which a time begins, by bisection: times are set by the clocks of the writers and may run back a
 * little, so an event of that time may be a few positions before it where clocks differ. 0 where everything that is kept
 * is of that time or later and older events were removed: some of them may have been of it, and that is told as a gap.
 */
export async function positionAt(timeMs: number, log: Kernel['log']): Promise<number> {
  const first = log.first();
  let low = first;
  let high = log.head() + 1;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    let found: { position: number; time: number } | undefined;
    for await (const [event] of log.read({ from: middle, limit: 1 })) found = event;
    if (found && found.time < timeMs) low = found.position + 1;
    else high = middle;
  }
  return low === first ? 0 : low;
}

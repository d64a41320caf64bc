import { type ForgottenIds, nothingForgotten } from '@cloudos/event-log';
import { pack, unpack } from 'msgpackr';
import { withChecksum } from './checked-row.ts';

/**
 * The revision of every stream at a position: saved now and then so that opening need not read the whole log, and for the
 * position before the first that is kept (the base).
 */
export interface Heads {
  readonly position: number;
  readonly ids: ForgottenIds;
  readonly revisions: Map<string, number>;
}

/** Where a log begins that was never trimmed. */
export const noHeads: Heads = { position: -1, ids: nothingForgotten, revisions: new Map() };

export function encodeHeads(position: number, ids: ForgottenIds, revisions: ReadonlyMap<string, number>): Buffer {
  return withChecksum(pack([position, ids.greatest, ids.others, [...revisions.keys()], [...revisions.values()]]));
}

export function decodeHeads(value: Buffer | undefined): Heads | undefined {
  if (!value) return undefined;
  try {
    const [position, greatest, others, names, revisions] = unpack(value) as [
      number,
      string,
      boolean,
      string[],
      number[],
    ];
    return { position, ids: { greatest, others }, revisions: new Map(names.map((name, at) => [name, revisions[at]!])) };
  } catch {
    return undefined;
  }
}

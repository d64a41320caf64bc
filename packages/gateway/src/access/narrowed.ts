import type { EventFilter } from '@cloudos/client';
import { CloudosError } from '@cloudos/sdk';

/** What a token may be confined to. A causal chain is no bound: what belongs to it is not known beforehand. */
export type EventsBound = Omit<EventFilter, 'cause'>;

/**
 * What was asked for within a bound, condition by condition. What was not asked is bounded; a pattern that reaches
 * beyond the bound is cut to it.
 * @throws CloudosError SCOPE_MISSING when a condition lies wholly outside: an empty subscription would look like silence
 */
export function narrowed(asked: EventFilter, bound: EventsBound): EventFilter {
  const { types, streams, workload, node, layer } = bound;
  return {
    ...asked,
    ...(types && { types: patternsWithin('types', asked.types, types) }),
    ...(streams && { streams: patternsWithin('streams', asked.streams, streams) }),
    ...(workload !== undefined && { workload: same('workload', asked.workload, workload, qualified) }),
    ...(node !== undefined && { node: same('node', asked.node, node) }),
    ...(layer !== undefined && { layer: same('layer', asked.layer, layer) }),
  };
}

/** An empty list asks for everything, as an absent one does. */
function patternsWithin(condition: string, asked: readonly string[] | undefined, allowed: readonly string[]) {
  if (asked === undefined || asked.length === 0) return allowed;
  return [...new Set(asked.flatMap((each) => within(condition, each, allowed)))];
}

function within(condition: string, wanted: string, allowed: readonly string[]): string[] {
  const common = allowed.flatMap((each) => commonPattern(wanted, each) ?? []);
  if (common.length > 0) return common;
  throw outside(condition, wanted, allowed);
}

function same<T extends string>(
  condition: string,
  asked: T | undefined,
  allowed: T,
  spelled: (value: string) => string = String,
): T {
  if (asked === undefined || spelled(asked) === spelled(allowed)) return allowed;
  throw outside(condition, asked, [allowed]);
}

function outside(condition: string, given: string, allowed: readonly string[]): CloudosError {
  return new CloudosError(
    'SCOPE_MISSING',
    `the token may read events with ${condition} ${allowed.join(', ')}; given ${given}`,
    { details: { scope: 'events:read', condition, allowed, given } },
  );
}

/** `web` stands for `default/web`. */
function qualified(workload: string): string {
  return workload.includes('/') ? workload : `default/${workload}`;
}

/** What two patterns both match: the narrower of the two, or nothing. */
function commonPattern(one: string, other: string): string | undefined {
  if (covers(one, other)) return other;
  return covers(other, one) ? one : undefined;
}

function covers(pattern: string, other: string): boolean {
  return pattern.endsWith('*') ? other.startsWith(pattern.slice(0, -1)) : pattern === other;
}

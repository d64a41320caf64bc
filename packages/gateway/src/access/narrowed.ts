import { CloudosError, type Filter } from '@cloudos/sdk';

/**
 * What was asked for within a bound, condition by condition. What was not asked is bounded; a pattern that reaches
 * beyond the bound is cut to it.
 * @throws CloudosError SCOPE_MISSING when a pattern lies wholly outside: an empty subscription would look like silence
 */
export function narrowed(asked: Filter, bound: Filter): Filter {
  const narrow: Record<string, readonly string[]> = { ...asked } as Record<string, readonly string[]>;
  for (const [condition, allowed] of Object.entries(bound) as [string, readonly string[]][]) {
    const wanted = narrow[condition];
    narrow[condition] = wanted === undefined ? allowed : wanted.flatMap((each) => within(condition, each, allowed));
  }
  return narrow as Filter;
}

function within(condition: string, wanted: string, allowed: readonly string[]): string[] {
  const common = allowed.flatMap((each) => commonPattern(wanted, each) ?? []);
  if (common.length > 0) return [...new Set(common)];
  throw new CloudosError(
    'SCOPE_MISSING',
    `the token may read events with ${condition} ${allowed.join(', ') || '(none)'}; given ${wanted}`,
    { details: { scope: 'events:read', condition, allowed, given: wanted } },
  );
}

/** What two patterns both match: the narrower of the two, or nothing. */
function commonPattern(one: string, other: string): string | undefined {
  if (covers(one, other)) return other;
  return covers(other, one) ? one : undefined;
}

function covers(pattern: string, other: string): boolean {
  return pattern.endsWith('*') ? other.startsWith(pattern.slice(0, -1)) : pattern === other;
}

import type { Filter, RecordedEvent } from '@cloudos/sdk';

/** Whether an event is wanted. */
export type EventPredicate = (event: RecordedEvent) => boolean;

/** Whether a name (an event type, a stream) matches one of the patterns; `*` at the end of one matches any rest. */
export function matchesAny(patterns: readonly string[], name: string): boolean {
  return patterns.some((pattern) => (pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern));
}

/**
 * Makes a predicate of a filter. A condition that is absent or has no values holds for every event.
 * Returns undefined when every event matches, so that the caller can pass batches on untouched.
 * Remembers the answer for at most {@link remembersMax} names of each kind.
 */
export function compileFilter(filter: Filter | undefined): EventPredicate | undefined {
  const types = compileNames(filter?.types);
  const streams = compileNames(filter?.streams);
  if (types && streams) return (event) => types(event.type) && streams(event.stream);
  if (types) return (event) => types(event.type);
  if (streams) return (event) => streams(event.stream);
  return undefined;
}

/** How many names a compiled filter remembers the answer for. */
export const remembersMax = 4096;

function compileNames(patterns: readonly string[] | undefined): ((name: string) => boolean) | undefined {
  if (!patterns || patterns.length === 0 || patterns.includes('*')) return undefined;
  const exact = new Set(patterns.filter((pattern) => !pattern.endsWith('*')));
  const prefixes = patterns.filter((pattern) => pattern.endsWith('*')).map((pattern) => pattern.slice(0, -1));
  if (prefixes.length === 0) return (name) => exact.has(name);
  const known = new Map<string, boolean>();
  return (name) => {
    let answer = known.get(name);
    if (answer === undefined) {
      answer = exact.has(name) || prefixes.some((prefix) => name.startsWith(prefix));
      if (known.size >= remembersMax) known.clear();
      known.set(name, answer);
    }
    return answer;
  };
}

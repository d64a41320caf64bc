/** How many names a compiled list of patterns remembers the answer for. */
export const namesRememberedMax = 4096;

/**
 * Whether a name (an event type, a stream) matches one of the patterns; `*` at the end of one matches any rest.
 * Undefined where every name does: the list is absent, empty, or has `*` in it.
 */
export function compileNames(patterns: readonly string[] | undefined): ((name: string) => boolean) | undefined {
  if (!patterns || patterns.length === 0 || patterns.includes('*')) return undefined;
  const exact = new Set(patterns.filter((pattern) => !pattern.endsWith('*')));
  const prefixes = patterns.filter((pattern) => pattern.endsWith('*')).map((pattern) => pattern.slice(0, -1));
  if (prefixes.length === 0) return (name) => exact.has(name);
  const known = new Map<string, boolean>();
  return (name) => {
    let answer = known.get(name);
    if (answer === undefined) {
      answer = exact.has(name) || prefixes.some((prefix) => name.startsWith(prefix));
      if (known.size >= namesRememberedMax) known.clear();
      known.set(name, answer);
    }
    return answer;
  };
}

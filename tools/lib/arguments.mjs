/**
 * Reads options of the form `--flag`, `--name value` and `--name=value`.
 * @param options by name: 'flag', 'value', or 'list' (may be repeated, and takes a comma-separated list)
 * @returns the options by name, and what was not one of them in `rest`
 */
export function parseArguments(argv, options) {
  const given = { rest: [] };
  const left = [...argv];
  while (left.length > 0) {
    const word = left.shift();
    const [name, inline] = word.startsWith('--') ? split(word.slice(2)) : [];
    const kind = name === undefined ? undefined : options[name];
    if (kind === undefined) {
      given.rest.push(word);
      continue;
    }
    if (kind === 'flag') {
      given[name] = true;
      continue;
    }
    const value = inline ?? left.shift();
    if (value === undefined) throw new Error(`--${name} needs a value`);
    given[name] = kind === 'list' ? [...(given[name] ?? []), ...value.split(',').filter(Boolean)] : value;
  }
  return given;
}

function split(word) {
  const at = word.indexOf('=');
  return at < 0 ? [word, undefined] : [word.slice(0, at), word.slice(at + 1)];
}

/** The most problems that one refusal names. */
export const problemsMax = 10;

/** What is wrong with a manifest, and what of it is passed over. */
export class Report {
  readonly problems: string[] = [];
  readonly warnings: string[] = [];
  readonly #subject: string;

  constructor(subject: string) {
    this.#subject = subject;
  }

  invalid(path: string, given: unknown, expected: string): void {
    this.problems.push(`${this.#subject}: ${path}: given ${preview(given)}, expected ${expected}`);
  }

  refuse(path: string, reason: string): void {
    this.problems.push(`${this.#subject}: ${path}: ${reason}`);
  }

  warn(path: string, reason: string): void {
    this.warnings.push(`${this.#subject}: ${path}: ${reason}`);
  }
}

export interface Range {
  readonly min?: number;
  readonly max?: number;
}

/**
 * Reads one mapping of a manifest, field by field. A field of a wrong type is reported with its path and counts as
 * absent, as does null. Whatever was not asked for when `done` is called is reported as unknown.
 */
export class Fields {
  readonly path: string;
  readonly report: Report;
  readonly #value: Readonly<Record<string, unknown>>;
  readonly #known = new Set<string>();

  constructor(report: Report, path: string, value: Readonly<Record<string, unknown>>) {
    this.report = report;
    this.path = path;
    this.#value = value;
  }

  at(key: string): string {
    return this.path ? `${this.path}.${key}` : key;
  }

  has(key: string): boolean {
    return this.raw(key) !== undefined;
  }

  /** The fields that are there, whether or not they were asked for. */
  keys(): string[] {
    return Object.keys(this.#value).filter((key) => this.#value[key] !== null);
  }

  raw(key: string): unknown {
    this.#known.add(key);
    return Object.hasOwn(this.#value, key) ? (this.#value[key] ?? undefined) : undefined;
  }

  string(key: string): string | undefined {
    const given = this.raw(key);
    if (given === undefined || typeof given === 'string') return given;
    this.report.invalid(this.at(key), given, 'a string');
    return undefined;
  }

  /** A string that must be there and not be empty; reported and empty otherwise. */
  required(key: string): string {
    const given = this.string(key);
    if (!given && (this.raw(key) === undefined || given === '')) {
      this.report.invalid(this.at(key), this.raw(key), 'a string that is not empty');
    }
    return given ?? '';
  }

  oneOf<Value extends string>(key: string, values: readonly Value[]): Value | undefined {
    const given = this.raw(key);
    if (given === undefined || values.includes(given as Value)) return given as Value | undefined;
    this.report.invalid(this.at(key), given, values.length === 1 ? `${values[0]}` : `one of ${values.join(', ')}`);
    return undefined;
  }

  int(key: string, { min = 0, max = 2_147_483_647 }: Range = {}): number | undefined {
    const given = this.raw(key);
    if (given === undefined) return undefined;
    if (typeof given === 'number' && Number.isInteger(given) && given >= min && given <= max) return given;
    this.report.invalid(this.at(key), given, `a whole number from ${min} to ${max}`);
    return undefined;
  }

  bool(key: string): boolean | undefined {
    const given = this.raw(key);
    if (given === undefined || typeof given === 'boolean') return given;
    this.report.invalid(this.at(key), given, 'true or false');
    return undefined;
  }

  object(key: string): Fields | undefined {
    const given = this.raw(key);
    if (given === undefined) return undefined;
    if (isMapping(given)) return new Fields(this.report, this.at(key), given);
    this.report.invalid(this.at(key), given, 'a mapping');
    return undefined;
  }

  list(key: string): Fields[] {
    const fields: Fields[] = [];
    for (const [index, item] of this.#array(key).entries()) {
      const path = `${this.at(key)}[${index}]`;
      if (isMapping(item)) fields.push(new Fields(this.report, path, item));
      else this.report.invalid(path, item, 'a mapping');
    }
    return fields;
  }

  strings(key: string): string[] | undefined {
    if (this.raw(key) === undefined) return undefined;
    const texts: string[] = [];
    for (const [index, item] of this.#array(key).entries()) {
      if (typeof item === 'string') texts.push(item);
      else this.report.invalid(`${this.at(key)}[${index}]`, item, 'a string');
    }
    return texts;
  }

  stringMap(key: string): Record<string, string> {
    const given = this.raw(key);
    if (given === undefined) return {};
    if (!isMapping(given)) {
      this.report.invalid(this.at(key), given, 'a mapping of strings');
      return {};
    }
    const map: Record<string, string> = {};
    for (const [name, value] of Object.entries(given)) {
      if (typeof value === 'string') map[name] = value;
      else this.report.invalid(`${this.at(key)}.${name}`, value, 'a string (put numbers and booleans in quotes)');
    }
    return map;
  }

  /** Fields that Kubernetes knows and that make no difference here: said so, or passed over silently. */
  advisory(keys: readonly string[], reason: string): void {
    for (const key of keys) if (this.has(key)) this.report.warn(this.at(key), reason);
  }

  silent(keys: readonly string[]): void {
    for (const key of keys) this.#known.add(key);
  }

  /** Fields whose absence would change what runs. An empty list or false asks for nothing. */
  unsupported(keys: readonly string[], reason: string): void {
    for (const key of keys) {
      const given = this.raw(key);
      const empty = given === undefined || given === false || (Array.isArray(given) && given.length === 0);
      if (!empty) this.report.refuse(this.at(key), reason);
    }
  }

  /** Reports every field that nobody has asked for. */
  done(): void {
    for (const key of Object.keys(this.#value)) {
      if (this.#known.has(key)) continue;
      const near = nearest(key, this.#known);
      this.report.warn(this.at(key), `unknown field, ignored${near ? ` (did you mean ${near}?)` : ''}`);
    }
  }

  #array(key: string): readonly unknown[] {
    const given = this.raw(key);
    if (given === undefined) return [];
    if (Array.isArray(given)) return given;
    this.report.invalid(this.at(key), given, 'a list');
    return [];
  }
}

export function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

/** The known name that differs least, if by no more than a third of its letters. */
export function nearest(given: string, known: Iterable<string>): string | undefined {
  let best: string | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const name of known) {
    const distance = editDistance(given.toLowerCase(), name.toLowerCase());
    if (distance < least && distance <= Math.max(1, Math.floor(name.length / 3))) {
      best = name;
      least = distance;
    }
  }
  return best;
}

function editDistance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 8 || a.length > 64) return 64;
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const swap = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(swap, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 64;
}

function preview(value: unknown): string {
  if (value === undefined) return 'nothing';
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

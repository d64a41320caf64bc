import type { z } from 'zod';

/** What a quick check answers where the schema itself has to look: at what is wrong, rare, or not plain. */
export const undecided: unique symbol = Symbol('undecided');

/** A copy of data that is valid beyond doubt, the same as the schema's; else {@link undecided}. */
export type QuickCheck = (data: unknown) => unknown;

/**
 * A check made from a schema that decides the plain cases a few times as fast as the schema, with one object made for
 * each object in the data: most events are valid, and every event is checked. It never refuses anything, so what it does
 * not know of a schema costs time and nothing else.
 */
export function quickCheckOf(schema: z.ZodType): QuickCheck {
  return compile(schema as unknown as Described);
}

interface Check {
  readonly _zod: { readonly def: { readonly check: string } & Readonly<Record<string, unknown>> };
}

/** What schemas say of themselves (`def` of zod 4), as far as it is read here. */
interface Description {
  readonly type: string;
  readonly checks?: readonly Check[];
  readonly coerce?: boolean;
  readonly check?: string;
  readonly format?: string;
  readonly shape?: Readonly<Record<string, Described>>;
  readonly catchall?: unknown;
  readonly element?: Described;
  readonly innerType?: Described;
  readonly keyType?: Described;
  readonly valueType?: Described;
  readonly entries?: Readonly<Record<string, string | number>>;
  readonly values?: readonly unknown[];
}

interface Described {
  readonly def: Description;
}

/** Types whose optional parts are left out where they are absent: others may have something put in their place. */
const plain: ReadonlySet<string | undefined> = new Set([
  'string',
  'number',
  'boolean',
  'object',
  'array',
  'record',
  'enum',
  'literal',
  'union',
  'unknown',
]);

const never: QuickCheck = () => undecided;

function compile(schema: Described): QuickCheck {
  const { def } = schema;
  if (def.coerce) return never;
  switch (def.type) {
    case 'string':
      return ofString(def);
    case 'number':
      return ofNumber(def);
    case 'object':
      return ofObject(def);
    case 'array':
      return ofArray(def);
    case 'record':
      return ofRecord(def);
  }
  if (def.checks && def.checks.length > 0) return never;
  switch (def.type) {
    case 'boolean':
      return (value) => (typeof value === 'boolean' ? value : undecided);
    case 'unknown':
      return (value) => value;
    case 'enum':
      return oneOf(Object.values(def.entries as object));
    case 'literal':
      return oneOf(def.values as readonly unknown[]);
    case 'optional':
    case 'default':
      return compile(def.innerType as Described);
    case 'nullable': {
      const inner = compile(def.innerType as Described);
      return (value) => (value === null ? null : inner(value));
    }
    default:
      return never;
  }
}

function oneOf(values: readonly unknown[]): QuickCheck {
  return (value) => (values.includes(value) ? value : undecided);
}

/** The bounds that checks set, undefined when there are checks of another kind. */
function boundsOf(checks: readonly Check[] = [], least: string, most: string): [number, number] | undefined {
  let [low, high] = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (const { _zod } of checks) {
    const { check, minimum, maximum, value, inclusive } = _zod.def;
    const bound = value ?? minimum ?? maximum;
    if (typeof bound !== 'number' || (check !== least && check !== most)) return undefined;
    // An exclusive bound is one of whole numbers here: what lies between is left to the schema.
    const step = inclusive === false ? 1 : 0;
    if (check === least) low = Math.max(low, bound + step);
    else high = Math.min(high, bound - step);
  }
  return [low, high];
}

function ofString({ checks, format }: Description): QuickCheck {
  const bounds = boundsOf(checks, 'min_length', 'max_length');
  if (!bounds || format !== undefined) return never;
  const [low, high] = bounds;
  return (value) => (typeof value === 'string' && value.length >= low && value.length <= high ? value : undecided);
}

function ofNumber({ checks, check, format }: Description): QuickCheck {
  const bounds = boundsOf(checks, 'greater_than', 'less_than');
  const isInteger = check === 'number_format' && format === 'safeint';
  if (!bounds || (check !== undefined && !isInteger)) return never;
  const [low, high] = bounds;
  const isNumber = isInteger ? Number.isSafeInteger : Number.isFinite;
  return (value) => (isNumber(value) && (value as number) >= low && (value as number) <= high ? value : undecided);
}

function ofObject({ shape, catchall, checks }: Description): QuickCheck {
  if (catchall !== undefined || (checks && checks.length > 0)) return never;
  const parts = Object.entries(shape as Readonly<Record<string, Described>>).map(([key, schema]) => ({
    key,
    check: compile(schema),
    mayBeAbsent: schema.def.type === 'optional' && plain.has(schema.def.innerType?.def.type),
  }));
  return (value) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undecided;
    const given = value as Readonly<Record<string, unknown>>;
    const copy: Record<string, unknown> = {};
    for (const { key, check, mayBeAbsent } of parts) {
      const part = given[key];
      if (part === undefined) {
        if (mayBeAbsent && !(key in given)) continue;
        return undecided;
      }
      const checked = check(part);
      if (checked === undecided) return undecided;
      copy[key] = checked;
    }
    return copy;
  };
}

function ofArray({ element, checks }: Description): QuickCheck {
  const bounds = boundsOf(checks, 'min_length', 'max_length');
  if (!bounds) return never;
  const [low, high] = bounds;
  const check = compile(element as Described);
  return (value) => {
    if (!Array.isArray(value) || value.length < low || value.length > high) return undecided;
    const copy = new Array<unknown>(value.length);
    for (let index = 0; index < value.length; index++) {
      const checked = value[index] === undefined ? undecided : check(value[index]);
      if (checked === undecided) return undecided;
      copy[index] = checked;
    }
    return copy;
  };
}

function ofRecord({ keyType, valueType, checks }: Description): QuickCheck {
  if ((checks && checks.length > 0) || keyType?.def.type !== 'string') return never;
  const [checkKey, check] = [compile(keyType), compile(valueType as Described)];
  return (value) => {
    if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype) {
      return undecided;
    }
    const given = value as Readonly<Record<string, unknown>>;
    const copy: Record<string, unknown> = {};
    for (const key of Reflect.ownKeys(given)) {
      if (typeof key !== 'string' || key === '__proto__' || checkKey(key) === undecided) return undecided;
      const checked = given[key] === undefined ? undecided : check(given[key]);
      if (checked === undecided) return undecided;
      copy[key] = checked;
    }
    return copy;
  };
}

import type { ErrorBody } from '@cloudos/sdk';
import { z } from 'zod';

export const count = z.int().nonnegative();
/** Epoch milliseconds. */
export const epochMs = z.number().nonnegative();
/** A position, or -1 for the empty log. */
export const positionOrNone = z.int().min(-1);

export function record<T extends z.ZodType>(value: T) {
  return z.record(z.string(), value);
}

type Plain<T> = T extends readonly (infer Item)[]
  ? readonly Plain<Item>[]
  : T extends object
    ? { readonly [Key in keyof T]: Plain<T[Key]> }
    : T;

/** The names of all fields, at every depth. */
type Fields<T> = T extends readonly (infer Item)[]
  ? Fields<Item>
  : T extends object
    ? { readonly [Key in keyof T]-?: Fields<Exclude<T[Key], undefined>> }
    : true;

/**
 * A schema of what is answered, held against the type that the code answers with: every value of the type must match,
 * and no field of it may be missing from the schema. The compiler checks it: `never` as the argument means that it does
 * not fit.
 */
export function describes<Type>() {
  return <Schema extends z.ZodType>(
    schema: [Plain<Type>] extends [Plain<z.output<Schema>>]
      ? [Fields<z.output<Schema>>] extends [Fields<Type>]
        ? Schema
        : never
      : never,
  ): Schema => schema;
}

export const errorBody = describes<ErrorBody>()(
  z.object({
    code: z.string().meta({ description: 'Stable; match on it.' }),
    message: z.string(),
    remedy: z.string().meta({ description: 'What to do next.' }),
    details: z.record(z.string(), z.unknown()).optional(),
    origin: z.object({ plugin: z.string(), generation: z.int() }).optional(),
  }),
);

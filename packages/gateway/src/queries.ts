import { CloudosError, describeIssues, orchestratorCommand, resourcesCommand } from '@cloudos/sdk';
import { z } from 'zod';

const position = z.coerce.number().int().nonnegative();
const flag = z.enum(['', 'true', '1', 'false', '0']).transform((text) => text !== 'false' && text !== '0');

export const viewQuery = z.object({ at: position.optional() });

/** Which container of an instance, where it has several. */
const container = z.string().min(1).max(63).optional();

export const logsQuery = z.object({
  container,
  follow: flag.default(false),
  tail: z.coerce.number().int().nonnegative().max(1_000_000).optional(),
  /** Milliseconds of the epoch. */
  since: z.coerce.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER).optional(),
});

const variable = z.string().regex(/^[^=]+=/, 'expected NAME=value');

export const execQuery = z.object({
  container,
  command: z.array(z.string()).min(1, 'expected ?command=…, once for each word').max(1_000),
  env: z.array(variable).max(1_000).default([]),
  workingDir: z.string().optional(),
  tty: flag.default(false),
  columns: z.coerce.number().int().min(1).max(10_000).default(80),
  rows: z.coerce.number().int().min(1).max(10_000).default(24),
});

export const resizeMessage = z.object({ columns: z.int().min(1).max(10_000), rows: z.int().min(1).max(10_000) });

export const commandBody = z.discriminatedUnion('slot', [
  z.object({ slot: z.literal('orchestrator'), command: orchestratorCommand, id: z.uuid().optional() }),
  z.object({ slot: z.literal('resources'), command: resourcesCommand, id: z.uuid().optional() }),
]);

export const swapBody = z.object({
  slot: z.string().min(1),
  plugin: z.string().min(1),
  config: z.unknown().optional(),
  node: z.string().min(1).optional(),
  replaces: z.string().min(1).optional(),
});

export const shadowBody = z.object({ plugin: z.string().min(1), config: z.unknown().optional() });

/** @throws CloudosError with that code: path, what was given, what was expected */
export function parsed<T>(
  schema: z.ZodType<T>,
  given: unknown,
  code: 'REQUEST_MALFORMED' | 'COMMAND_INVALID' = 'REQUEST_MALFORMED',
): T {
  const result = schema.safeParse(given);
  if (result.success) return result.data;
  throw new CloudosError(code, describeIssues(result.error, given));
}

/** Query parameters as an object: the last value of each, and every value of those that may repeat. */
export function queryOf(parameters: URLSearchParams, repeated: readonly string[] = []): Record<string, unknown> {
  const query: Record<string, unknown> = Object.fromEntries(parameters);
  for (const name of repeated) if (parameters.has(name)) query[name] = parameters.getAll(name);
  return query;
}

import { z } from 'zod';
import { CloudosError } from '../errors.ts';
import type { NewEvent, RecordedEvent } from '../event.ts';
import { isPrivateType } from '../event.ts';
import { kernelEvents } from './kernel.events.ts';
import { migrationEvents } from './migration.events.ts';
import { networkEvents } from './network.events.ts';
import { nodeEvents } from './node.events.ts';
import { orchestratorEvents } from './orchestrator.events.ts';
import { type QuickCheck, quickCheckOf, undecided } from './quick-check.ts';
import { resourcesEvents } from './resources.events.ts';

/** The shared vocabulary: by type, what it says and the schema of its data. The layers agree on this and no more. */
export const sharedEvents = {
  ...kernelEvents,
  ...nodeEvents,
  ...orchestratorEvents,
  ...resourcesEvents,
  ...networkEvents,
  ...migrationEvents,
} as const;

/** The same, by the layer that writes them. */
export const eventsByLayer = {
  kernel: kernelEvents,
  node: nodeEvents,
  orchestrator: orchestratorEvents,
  resources: resourcesEvents,
  network: networkEvents,
  migration: migrationEvents,
} as const;

export type SharedEventType = keyof typeof sharedEvents;

/** Data of a shared event as it stands in the log: defaults filled in. */
export type EventData<Type extends SharedEventType> = z.output<(typeof sharedEvents)[Type]['schema']>;

/** Any shared event, told apart by `type`. Private events pass through policies too: they match no known type. */
export type SharedEvent = { [Type in SharedEventType]: RecordedEvent<Type, EventData<Type>> }[SharedEventType];

/**
 * A new shared event, typed by its name.
 * Data is complete here (defaults written out); it is validated when it is appended.
 */
export function event<Type extends SharedEventType>(
  type: Type,
  data: EventData<Type>,
  options: Omit<NewEvent, 'type' | 'data'> = {},
): NewEvent<Type, EventData<Type>> {
  return { ...options, type, data };
}

/** Current schema version of each type that has had more than one. Readers get older ones upcast to it. */
export const schemaVersions: Readonly<Partial<Record<SharedEventType, number>>> = {};

export function schemaVersionOf(type: string): number {
  return schemaVersions[type as SharedEventType] ?? 1;
}

/**
 * Checks the data of a new event against the schema of its type and returns it with defaults filled in.
 * Private types pass unchecked.
 * @throws CloudosError EVENT_TYPE_UNKNOWN or EVENT_INVALID (with the path, what was given and what was expected)
 */
export function checkEvent(type: string, data: unknown): unknown {
  const known = Object.hasOwn(sharedEvents, type) ? sharedEvents[type as SharedEventType] : undefined;
  if (!known) {
    if (isPrivateType(type)) return data;
    throw new CloudosError('EVENT_TYPE_UNKNOWN', `event type ${JSON.stringify(type)} is not part of the vocabulary`);
  }
  let quick = quickChecks.get(type);
  if (!quick) {
    quick = quickCheckOf(known.schema);
    quickChecks.set(type, quick);
  }
  const checked = quick(data);
  if (checked !== undecided) return checked;
  const parsed = known.schema.safeParse(data);
  if (parsed.success) return parsed.data;
  throw new CloudosError('EVENT_INVALID', `${type}: ${describeIssues(parsed.error, data)}`);
}

const quickChecks = new Map<string, QuickCheck>();

/** What a schema found wrong, in one line: path, what was given, what was expected. */
export function describeIssues(error: z.ZodError, given: unknown): string {
  return error.issues
    .slice(0, 5)
    .map((issue) => {
      const path = issue.path.map(String).join('.') || '(the whole)';
      return `${path}: ${issue.message}, given ${preview(valueAt(given, issue.path))}`;
    })
    .join('; ');
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (at, key) => (at === null || typeof at !== 'object' ? undefined : (at as Record<PropertyKey, unknown>)[key]),
    value,
  );
}

function preview(value: unknown): string {
  const text = value === undefined ? 'nothing' : (JSON.stringify(value) ?? String(value));
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

/** JSON Schema (draft 2020-12) of the data of a type, derived from its schema. */
export function jsonSchemaOf(type: SharedEventType): Record<string, unknown> {
  return z.toJSONSchema(sharedEvents[type].schema, { io: 'output' }) as Record<string, unknown>;
}

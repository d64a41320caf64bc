import { compileKeys, compileNames, type Filter, type RecordedEvent } from '@cloudos/sdk';

/** Whether an event is wanted. */
export type EventPredicate = (event: RecordedEvent) => boolean;

/**
 * Makes a predicate of a filter. A condition that is absent or has no values holds for every event.
 * Returns undefined when every event matches, so that the caller can pass batches on untouched.
 */
export function compileFilter(filter: Filter | undefined): EventPredicate | undefined {
  const types = compileNames(filter?.types);
  const streams = compileNames(filter?.streams);
  const conditions: EventPredicate[] = [];
  if (types) conditions.push((event) => types(event.type));
  if (streams) conditions.push((event) => streams(event.stream));
  const keys = compileKeys(filter?.keys);
  if (keys) conditions.push(keys);
  const [first, second] = conditions;
  if (!first || !second) return first;
  if (conditions.length === 2) return (event) => first(event) && second(event);
  return (event) => conditions.every((condition) => condition(event));
}

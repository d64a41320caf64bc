import type { EventFilter } from '@cloudos/client';
import type { Kernel } from '@cloudos/kernel';
import { CloudosError, eventsByLayer, type Filter, type RecordedEvent } from '@cloudos/sdk';
import { compilePatterns } from './name-patterns.ts';

/** Instances that one filter by workload may know. Beyond: GATEWAY_OVERLOADED. About 100 bytes each. */
export const workloadInstancesMax = 262_144;

type Predicate = (event: RecordedEvent) => boolean;

/** A filter ready to be evaluated. Those with the same `key` select the same events. */
export interface FeedFilter {
  readonly key: string;
  /** Undefined: every event matches. */
  readonly matches: Predicate | undefined;
  /** The part that the log itself can evaluate. Undefined where it can tell nothing. */
  readonly logFilter: Filter | undefined;
  /** Whether the log can evaluate all of it. */
  readonly isOfLog: boolean;
  /** The only streams that can hold a matching event, where the filter names them. */
  readonly streams: readonly string[] | undefined;
  /** Whether they are few enough to be read through the log's index of streams. */
  readonly isIndexed: boolean;
}

/** A filter in one spelling: no empty lists, sorted, each value once. */
export function normalFilter(filter: EventFilter): EventFilter {
  const list = (values: readonly string[] | undefined) =>
    values && values.length > 0 && !values.includes('*') ? [...new Set(values)].sort() : undefined;
  const types = list(filter.types);
  const streams = list(filter.streams);
  return {
    ...(types && { types }),
    ...(streams && { streams }),
    ...(filter.workload !== undefined && { workload: qualified(filter.workload) }),
    ...(filter.node !== undefined && { node: filter.node }),
    ...(filter.layer !== undefined && { layer: filter.layer }),
    ...(filter.cause !== undefined && { cause: filter.cause }),
  };
}

/**
 * Compiles filters that must all hold (a subscriber's own, and what it is confined to). Reads the log where a condition
 * depends on what is there: the instances of a workload, the correlation of an event.
 * @throws CloudosError POSITION_OUT_OF_RANGE for a cause that is not in the log, GATEWAY_OVERLOADED
 */
export async function compileFilters(filters: readonly EventFilter[], log: Kernel['log']): Promise<FeedFilter> {
  const normal = filters.map(normalFilter).filter((filter) => Object.keys(filter).length > 0);
  const predicates: Predicate[] = [];
  for (const filter of normal) predicates.push(...(await predicatesOf(filter, log)));
  const [first] = normal;
  const logFilter = first && (first.types || first.streams) ? only(first) : undefined;
  const streams = normal.map((filter) => filter.streams).find((names) => names?.every((name) => !name.endsWith('*')));
  return {
    key: JSON.stringify(normal),
    matches: joined(predicates),
    logFilter,
    isOfLog: normal.length === 0 || (normal.length === 1 && Object.keys(first ?? {}).every((key) => key in ofLog)),
    streams,
    isIndexed: streams !== undefined && streams.length <= indexedStreamsMax,
  };
}

/** Conditions that the log itself evaluates. */
const ofLog = { types: true, streams: true };

/** The most streams that are merged through the index of streams; more are found by reading everything. */
export const indexedStreamsMax = 16;

function only({ types, streams }: EventFilter): Filter {
  return { ...(types && { types }), ...(streams && { streams }) };
}

function joined(predicates: readonly Predicate[]): Predicate | undefined {
  const [first, second] = predicates;
  if (!first) return undefined;
  if (!second) return first;
  if (predicates.length === 2) return (event) => first(event) && second(event);
  return (event) => predicates.every((predicate) => predicate(event));
}

async function predicatesOf(filter: EventFilter, log: Kernel['log']): Promise<Predicate[]> {
  const predicates: Predicate[] = [];
  const types = compilePatterns(filter.types);
  const streams = compilePatterns(filter.streams);
  if (types) predicates.push((event) => types(event.type));
  if (streams) predicates.push((event) => streams(event.stream));
  if (filter.layer !== undefined) predicates.push(byLayer(filter.layer));
  if (filter.node !== undefined) predicates.push(byNode(filter.node));
  if (filter.workload !== undefined) predicates.push(await byWorkload(filter.workload, log));
  if (filter.cause !== undefined) predicates.push(await byCause(filter.cause, log));
  return predicates;
}

function byLayer(layer: NonNullable<EventFilter['layer']>): Predicate {
  const types = new Set(Object.keys(eventsByLayer[layer]));
  return (event) => types.has(event.type);
}

function byNode(node: string): Predicate {
  const stream = `node-${node}`;
  return (event) => event.stream === stream || dataOf(event).node === node;
}

/** Instance names are unique for ever, so knowing more of them than were requested yet does no harm. */
async function byWorkload(workload: string, log: Kernel['log']): Promise<Predicate> {
  const instances = new Set<string>();
  const learn = (event: RecordedEvent) => {
    const data = dataOf(event);
    if (data.workload !== workload || typeof data.instance !== 'string') return;
    if (instances.size >= workloadInstancesMax) {
      throw new CloudosError('GATEWAY_OVERLOADED', `${workload} has had more than ${workloadInstancesMax} instances`, {
        remedy: 'Select by node, stream or type instead.',
      });
    }
    instances.add(data.instance);
  };
  for await (const batch of log.read({ filter: { types: ['InstanceRequested'] } })) batch.forEach(learn);
  return (event) => {
    if (event.type === 'InstanceRequested') learn(event);
    const data = dataOf(event);
    return data.workload === workload || (typeof data.instance === 'string' && instances.has(data.instance));
  };
}

async function byCause(cause: string | number, log: Kernel['log']): Promise<Predicate> {
  if (typeof cause === 'string') return (event) => event.meta.correlation === cause;
  let origin: RecordedEvent | undefined;
  for await (const [event] of log.read({ from: cause, to: cause })) origin = event;
  if (!origin) {
    throw new CloudosError('POSITION_OUT_OF_RANGE', `cause ${cause} is not in the log, which ends at ${log.head()}`);
  }
  const { correlation } = origin.meta;
  return ({ position, meta }) =>
    position === cause || meta.causation === cause || (correlation !== undefined && meta.correlation === correlation);
}

function dataOf(event: RecordedEvent): Record<string, unknown> {
  return typeof event.data === 'object' && event.data !== null ? (event.data as Record<string, unknown>) : {};
}

function qualified(workload: string): string {
  return workload.includes('/') ? workload : `default/${workload}`;
}

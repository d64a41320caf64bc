import type { EventFilter } from '@cloudos/client';
import type { Kernel } from '@cloudos/kernel';
import {
  CloudosError,
  compileKeys,
  compileNames,
  type EventKey,
  eventKey,
  eventsByLayer,
  type Filter,
  type RecordedEvent,
} from '@cloudos/sdk';

/** Instances that one filter by workload may know. Beyond: GATEWAY_OVERLOADED. About 100 bytes each. */
export const workloadInstancesMax = 262_144;

type Predicate = (event: RecordedEvent) => boolean;

/** A filter ready to be evaluated. Those with the same `key` select the same events. */
export interface FeedFilter {
  readonly key: string;
  /** Undefined: every event matches. */
  readonly matches: Predicate | undefined;
  /** What the log can evaluate: every event that matches is among those that this selects. Undefined where it can tell nothing. */
  readonly logFilter: Filter | undefined;
  /** The last position of which that is true. */
  readonly logFilterTo: number;
  /** To be told of every event that is appended, wanted or not, where what matches depends on earlier ones. */
  readonly learn: ((events: readonly RecordedEvent[]) => void) | undefined;
  /** The part of it that is true of all that is to come as well. */
  readonly liveFilter: Filter | undefined;
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
  const compiled: Conditions[] = [];
  for (const filter of normal) compiled.push(await conditionsOf(filter, log));
  const [first] = compiled;
  const streams = normal.map((filter) => filter.streams).find((names) => names?.every((name) => !name.endsWith('*')));
  return {
    key: JSON.stringify(normal),
    matches: joined(compiled.flatMap(({ predicates }) => predicates)),
    logFilter: filterOf(first?.ofLog),
    logFilterTo: first?.to ?? Number.POSITIVE_INFINITY,
    learn: learningOf(compiled),
    liveFilter: filterOf(first?.to === Number.POSITIVE_INFINITY ? first.ofLog : without(first?.ofLog)),
    isOfLog: compiled.length === 0 || (compiled.length === 1 && first?.isOfLog === true),
    streams,
    isIndexed: streams !== undefined && streams.length <= indexedStreamsMax,
  };
}

function learningOf(compiled: readonly Conditions[]): FeedFilter['learn'] {
  const learning = compiled.flatMap(({ learn }) => learn ?? []);
  if (learning.length === 0) return undefined;
  return (events) => {
    for (const event of events) for (const learn of learning) learn(event);
  };
}

/** The most streams that are merged through the index of streams; more are found by reading everything. */
export const indexedStreamsMax = 16;

function filterOf(filter: Filter | undefined): Filter | undefined {
  return filter && Object.keys(filter).length > 0 ? filter : undefined;
}

function without({ types, streams }: Filter = {}): Filter {
  return { ...(types && { types }), ...(streams && { streams }) };
}

/** The conditions of one filter, for the log and to be tested here. */
interface Conditions {
  readonly predicates: readonly Predicate[];
  readonly ofLog: Filter;
  /** The log tells of all that matches up to there. */
  readonly to: number;
  readonly isOfLog: boolean;
  readonly learn: ((event: RecordedEvent) => void) | undefined;
}

/** A condition that is met by events with certain keys. */
interface KeyCondition {
  readonly matches: Predicate;
  readonly keys: readonly EventKey[];
  /** Last position up to which these are all the keys there are. */
  readonly to?: number;
  /** Takes in an event on which later ones depend; may be told of it more than once. */
  readonly learn?: (event: RecordedEvent) => void;
}

async function conditionsOf(filter: EventFilter, log: Kernel['log']): Promise<Conditions> {
  const predicates: Predicate[] = [];
  const types = compileNames(filter.types);
  const streams = compileNames(filter.streams);
  const layer = filter.layer === undefined ? undefined : Object.keys(eventsByLayer[filter.layer]);
  if (types) predicates.push((event) => types(event.type));
  if (streams) predicates.push((event) => streams(event.stream));
  if (layer) predicates.push(byLayer(layer));
  // The log takes the keys of one condition: of the one that selects the least.
  const byKeys: KeyCondition[] = [];
  if (filter.cause !== undefined) byKeys.push(await byCause(filter.cause, log));
  if (filter.workload !== undefined) byKeys.push(await byWorkload(filter.workload, log));
  if (filter.node !== undefined) byKeys.push(byNode(filter.node));
  predicates.push(...byKeys.map(({ matches }) => matches));
  const [best] = byKeys;
  const ofTypes = filter.types ?? layer;
  const both = filter.types !== undefined && layer !== undefined;
  return {
    predicates,
    ofLog: {
      ...(ofTypes && { types: ofTypes }),
      ...(filter.streams && { streams: filter.streams }),
      ...(best && { keys: best.keys }),
    },
    to: best?.to ?? Number.POSITIVE_INFINITY,
    isOfLog: byKeys.length <= 1 && best?.to === undefined && !both,
    learn: byKeys.find(({ learn }) => learn)?.learn,
  };
}

function joined(predicates: readonly Predicate[]): Predicate | undefined {
  const [first, second] = predicates;
  if (!first) return undefined;
  if (!second) return first;
  if (predicates.length === 2) return (event) => first(event) && second(event);
  return (event) => predicates.every((predicate) => predicate(event));
}

function byLayer(layer: readonly string[]): Predicate {
  const types = new Set(layer);
  return (event) => types.has(event.type);
}

function byNode(node: string): KeyCondition {
  const keys = [eventKey('stream', `node-${node}`), eventKey('node', node)];
  return { matches: compileKeys(keys) as Predicate, keys };
}

/** Instance names are unique for ever, so knowing more of them than were requested yet does no harm. */
async function byWorkload(workload: string, log: Kernel['log']): Promise<KeyCondition> {
  const instances = new Set<string>();
  const learn = (event: RecordedEvent) => {
    if (event.type !== 'InstanceRequested') return;
    const data = dataOf(event);
    if (data.workload !== workload || typeof data.instance !== 'string') return;
    if (instances.size >= workloadInstancesMax) {
      throw new CloudosError('GATEWAY_OVERLOADED', `${workload} has had more than ${workloadInstancesMax} instances`, {
        remedy: 'Select by node, stream or type instead.',
      });
    }
    instances.add(data.instance);
  };
  const to = log.head();
  const filter: Filter = { types: ['InstanceRequested'], keys: [eventKey('workload', workload)] };
  for await (const batch of log.read({ to, filter })) batch.forEach(learn);
  const keys = [eventKey('workload', workload), ...[...instances].map((instance) => eventKey('instance', instance))];
  const matches = (event: RecordedEvent) => {
    learn(event);
    const data = dataOf(event);
    return data.workload === workload || (typeof data.instance === 'string' && instances.has(data.instance));
  };
  return { matches, keys, to, learn };
}

async function byCause(cause: string | number, log: Kernel['log']): Promise<KeyCondition> {
  const keys: EventKey[] = [];
  if (typeof cause === 'string') keys.push(eventKey('correlation', cause));
  else {
    let origin: RecordedEvent | undefined;
    for await (const [event] of log.read({ from: cause, to: cause })) origin = event;
    if (!origin) {
      throw new CloudosError('POSITION_OUT_OF_RANGE', `cause ${cause} is not in the log, which ends at ${log.head()}`);
    }
    const { correlation } = origin.meta;
    keys.push(eventKey('position', cause), eventKey('causation', cause));
    if (correlation !== undefined) keys.push(eventKey('correlation', correlation));
  }
  return { matches: compileKeys(keys) as Predicate, keys };
}

function dataOf(event: RecordedEvent): Record<string, unknown> {
  return typeof event.data === 'object' && event.data !== null ? (event.data as Record<string, unknown>) : {};
}

function qualified(workload: string): string {
  return workload.includes('/') ? workload : `default/${workload}`;
}

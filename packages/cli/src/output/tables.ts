import type {
  HostCheck,
  InstanceState,
  InstanceView,
  NodeView,
  PluginView,
  RecordedEvent,
  ServiceView,
  WorkloadView,
} from '@cloudos/sdk';
import type { Colors } from '../terminal.ts';
import { detailsOf, subjectOf } from './event-text.ts';
import { address, age, bytes, clockTime, cores, cpuOf, memoryOf } from './format.ts';
import { type Column, Table } from './table.ts';

export interface TableOptions {
  readonly colors: Colors;
  readonly wide: boolean;
  /** Epoch milliseconds, for ages: asked for each row, because a watch goes on. */
  now(): number;
  /** Of the terminal: rows of events are cut to it. */
  readonly width?: number | undefined;
}

const good = new Set(['ready', 'active', 'complete', 'ok']);
const bad = new Set(['failed', 'revoked', 'expired', 'unplaceable', 'lost', 'stalled', 'missing']);
const underWay = new Set([
  'pending',
  'placed',
  'created',
  'stopping',
  'cordoned',
  'progressing',
  'starting',
  'warning',
]);

/** Colours a word for a state: sparingly, by what it means. */
export function paintState(colors: Colors): (text: string) => string {
  return (text) => {
    const word = text.trim();
    if (good.has(word)) return colors.green(text);
    if (bad.has(word)) return colors.red(text);
    if (underWay.has(word)) return colors.yellow(text);
    return text;
  };
}

function pick<Row>(wide: boolean, columns: readonly (Column<Row> & { wide?: boolean })[]): Column<Row>[] {
  return columns.filter((column) => wide || !column.wide);
}

export function nodeTable({ colors, wide }: TableOptions): Table<NodeView> {
  return new Table(
    pick<NodeView>(wide, [
      { header: 'NODE', value: (node) => node.node },
      { header: 'STATE', value: (node) => node.state, paint: paintState(colors) },
      { header: 'CPU', value: (node) => cpuOf(node.used, node.capacity), align: 'right' },
      { header: 'MEMORY', value: (node) => memoryOf(node.used, node.capacity), align: 'right' },
      { header: 'INSTANCES', value: (node) => String(node.instances), align: 'right' },
      { header: 'RUNTIMES', value: (node) => node.runtimes.map(({ name }) => name).join(',') || '-' },
      { header: 'OS', value: (node) => node.attributes.os ?? '-', wide: true },
      { header: 'KERNEL', value: (node) => node.attributes.kernel ?? '-', wide: true },
      { header: 'DISK', value: (node) => bytes(node.capacity.diskBytes), wide: true },
    ]),
    colors,
  );
}

export function workloadTable({ colors, wide, now }: TableOptions): Table<WorkloadView> {
  const firstTime = (workload: WorkloadView) => workload.revisions[0]?.time;
  return new Table(
    pick<WorkloadView>(wide, [
      { header: 'WORKLOAD', value: ({ spec }) => spec.workload },
      { header: 'KIND', value: ({ spec }) => spec.kind },
      { header: 'READY', value: ({ ready, spec }) => `${ready}/${spec.replicas}`, align: 'right' },
      { header: 'UPDATED', value: ({ updated }) => String(updated), align: 'right' },
      { header: 'REVISION', value: ({ spec }) => String(spec.revision), align: 'right' },
      { header: 'ROLLOUT', value: ({ rollout }) => rollout, paint: paintState(colors) },
      { header: 'AGE', value: (workload) => ageSince(firstTime(workload), now), align: 'right' },
      { header: 'IMAGE', value: ({ spec }) => spec.template.image, wide: true },
      { header: 'CPU', value: ({ spec }) => cores(spec.template.requests.cpuMillis), wide: true },
      { header: 'MEMORY', value: ({ spec }) => bytes(spec.template.requests.memoryBytes), wide: true },
      { header: 'MESSAGE', value: ({ message }) => message ?? '', wide: true },
    ]),
    colors,
  );
}

export function instanceTable({ colors, wide, now }: TableOptions): Table<InstanceView> {
  const paint = paintState(colors);
  return new Table(
    pick<InstanceView>(wide, [
      { header: 'INSTANCE', value: ({ instance }) => instance },
      { header: 'NODE', value: ({ node }) => node ?? '-' },
      { header: 'RUNTIME', value: ({ runtime }) => runtime ?? '-' },
      { header: 'ADDRESS', value: (view) => address(view.address) },
      { header: 'STATE', value: ({ state }) => state satisfies InstanceState, paint },
      { header: 'RESTARTS', value: ({ attempt }) => String(Math.max(0, attempt - 1)), align: 'right' },
      { header: 'AGE', value: ({ requestedTime }) => ageSince(requestedTime, now), align: 'right' },
      { header: 'WORKLOAD', value: ({ workload }) => workload, wide: true },
      { header: 'REVISION', value: ({ revision }) => String(revision), wide: true },
      { header: 'PID', value: ({ pid }) => (pid === undefined ? '-' : String(pid)), wide: true },
      { header: 'REASON', value: ({ reason }) => reason ?? '', wide: true },
    ]),
    colors,
  );
}

/** Where a service is reached: `127.0.0.1:8080`, `-` when nothing serves it. */
export function serviceAddresses({ address: at }: ServiceView): string[] {
  return at ? Object.values(at.ports).map((port) => `${at.host}:${port}`) : [];
}

export function serviceTable({ colors, wide }: TableOptions): Table<ServiceView> {
  return new Table(
    pick<ServiceView>(wide, [
      { header: 'SERVICE', value: ({ spec }) => spec.service },
      { header: 'ADDRESS', value: (service) => serviceAddresses(service).join(',') || '-' },
      {
        header: 'PORTS',
        value: ({ spec }) => spec.ports.map(({ port, targetPort }) => `${port}→${targetPort}`).join(','),
      },
      { header: 'ENDPOINTS', value: ({ endpoints }) => String(endpoints.length), align: 'right' },
      {
        header: 'INSTANCES',
        value: ({ endpoints }) => endpoints.map(({ instance }) => instance).join(','),
        wide: true,
      },
      {
        header: 'SELECTOR',
        value: ({ spec }) =>
          Object.entries(spec.selector)
            .map(([key, value]) => `${key}=${value}`)
            .join(','),
        wide: true,
      },
    ]),
    colors,
  );
}

export function pluginTable({ colors, wide }: TableOptions): Table<PluginView> {
  return new Table(
    pick<PluginView>(wide, [
      { header: 'SLOT', value: ({ slot }) => slot },
      { header: 'NODE', value: ({ node }) => node ?? '-' },
      { header: 'PLUGIN', value: ({ plugin }) => plugin },
      { header: 'VERSION', value: ({ version }) => version, wide: true },
      { header: 'GENERATION', value: ({ generation }) => String(generation), align: 'right' },
      { header: 'STATE', value: ({ state }) => state, paint: paintState(colors) },
      { header: 'RESTARTS', value: ({ attempt }) => String(attempt), align: 'right' },
      { header: 'URL', value: ({ url }) => url ?? '-' },
      { header: 'REASON', value: ({ code, reason }) => [code, reason].filter(Boolean).join(': ') },
    ]),
    colors,
  );
}

export function eventTable({ colors, wide, now, width }: TableOptions): Table<RecordedEvent> {
  return new Table(
    pick<RecordedEvent>(wide, [
      { header: 'POSITION', value: ({ position }) => String(position), align: 'right', paint: colors.cyan },
      { header: 'TIME', value: ({ time }) => clockTime(time, now()), paint: colors.dim },
      { header: 'STREAM', value: ({ stream }) => stream },
      { header: 'REVISION', value: ({ revision }) => String(revision), align: 'right', wide: true },
      { header: 'BY', value: ({ meta }) => `${meta.producer.plugin}#${meta.producer.generation}`, wide: true },
      { header: 'EVENT', value: ({ type }) => type, paint: colors.bold },
      { header: 'ABOUT', value: subjectOf },
      { header: '', value: detailsOf, paint: colors.dim },
    ]),
    colors,
    width,
  );
}

export function checkTable({ colors }: TableOptions): Table<HostCheck & { node: string }> {
  return new Table<HostCheck & { node: string }>(
    [
      { header: 'NODE', value: ({ node }) => node },
      { header: 'CHECK', value: ({ name }) => name },
      { header: 'STATUS', value: ({ status }) => status, paint: paintState(colors) },
      { header: 'FOUND', value: ({ found }) => found },
    ],
    colors,
  );
}

function ageSince(time: number | undefined, now: () => number): string {
  return time === undefined ? '-' : age(now() - time);
}

import type { CloudosClient } from '@cloudos/client';
import type { ClusterView, InstanceView, NodeView, ServiceView, WorkloadView } from '@cloudos/sdk';
import { CloudosError } from '@cloudos/sdk';
import type { Command } from 'commander';
import { stringify } from 'yaml';
import type { CliContext } from '../context.ts';
import { connect } from '../endpoint.ts';
import { address, age, bytes, clockTime, cores, cpuOf, memoryOf } from '../output/format.ts';
import { fields } from '../output/table.ts';
import { instanceTable, serviceAddresses } from '../output/tables.ts';
import { resourceKindOf, splitReference } from '../resource-kinds.ts';
import type { Terminal } from '../terminal.ts';
import { printExplanation } from './why.command.ts';

/** The last steps of the explanation; `cloudos why` shows all. */
const stepsShown = 15;

export function addDescribe(program: Command, context: CliContext): void {
  program
    .command('describe')
    .description('show everything about a node, an instance, a workload or a service')
    .argument('<kind-or-name>', 'deployment/web, or a kind before a name, or a name alone')
    .argument('[name]')
    .addHelpText(
      'after',
      '\nExamples:\n  cloudos describe instance web-5d9f-1\n  cloudos describe deployment/web\n  cloudos describe local',
    )
    .action(async (first: string, second: string | undefined) => {
      const reference = second === undefined ? splitReference(first) : { kind: first, name: second };
      const { client } = await connect(context);
      await describe(context.terminal, client, reference);
    });
}

async function describe(
  terminal: Terminal,
  client: CloudosClient,
  { kind, name }: { kind?: string; name: string },
): Promise<void> {
  const view = await client.view();
  const found = find(view, kind === undefined ? undefined : resourceKindOf(kind), name);
  if (!found) {
    const what = kind === undefined ? 'node, instance, workload or service' : kind;
    throw new CloudosError('INSTANCE_NOT_FOUND', `no ${what} is called ${name}`, {
      remedy: 'List what there is with `cloudos get <kind>`.',
    });
  }
  found.print(terminal);
  terminal.line();
  const explanation = await client.why(found.subject);
  printExplanation(terminal, { ...explanation, steps: explanation.steps.slice(-stepsShown) });
  const left = explanation.steps.length - stepsShown;
  if (left > 0) terminal.line(terminal.colors.dim(`${left} earlier: cloudos why ${found.subject}`));
}

interface Found {
  readonly subject: string;
  print(terminal: Terminal): void;
}

function find(view: ClusterView, kind: string | undefined, name: string): Found | undefined {
  const names = [name, `default/${name}`];
  const asked = (each: string) => kind === undefined || kind === each;
  const instance = view.instances.find((each) => names.includes(each.instance));
  if (instance && asked('instances')) {
    return { subject: instance.instance, print: (terminal) => printInstance(terminal, instance) };
  }
  const workload = view.workloads.find(({ spec }) => names.includes(spec.workload));
  if (workload && asked('workloads')) {
    return { subject: workload.spec.workload, print: (terminal) => printWorkload(terminal, workload, view) };
  }
  const service = view.services.find(({ spec }) => names.includes(spec.service));
  if (service && asked('services')) {
    return { subject: service.spec.service, print: (terminal) => printService(terminal, service) };
  }
  const node = view.nodes.find((each) => names.includes(each.node));
  if (node && asked('nodes')) return { subject: node.node, print: (terminal) => printNode(terminal, node, view) };
  return undefined;
}

function printFields(terminal: Terminal, pairs: readonly (readonly [string, string | undefined])[]): void {
  const given = pairs.filter((pair): pair is readonly [string, string] => pair[1] !== undefined && pair[1] !== '');
  for (const line of fields(given, terminal.colors)) terminal.line(line);
}

function printInstance(terminal: Terminal, view: InstanceView): void {
  const { exit } = view;
  printFields(terminal, [
    ['instance', view.instance],
    ['workload', `${view.workload}, revision ${view.revision}`],
    ['state', view.state],
    ['reason', view.reason],
    ['node', view.node],
    ['runtime', view.runtime],
    ['address', view.address && address(view.address)],
    ['pid', view.pid === undefined ? undefined : String(view.pid)],
    ['run', view.attempt === 0 ? undefined : String(view.attempt)],
    ['last exit', exit && `${exit.reason}, code ${exit.exitCode ?? '-'}, signal ${exit.signal ?? '-'}`],
    ...(view.containers ?? []).map(
      ({ name, running, restarts, exit }) =>
        [
          `container ${name}`,
          `${running ? 'running' : 'not running'}, ${restarts} restarts${exit ? `, last: ${exit.message ?? `${exit.reason}, code ${exit.exitCode ?? '-'}, signal ${exit.signal ?? '-'}`}` : ''}`,
        ] as const,
    ),
    ['requests', `${cores(view.requests.cpuMillis)} cores, ${bytes(view.requests.memoryBytes)}`],
    ['priority', String(view.priority)],
    ['requested', `position ${view.requestedAt}, ${age(Date.now() - view.requestedTime)} ago`],
    ['changed', `position ${view.changedAt}, ${age(Date.now() - view.changedTime)} ago`],
  ]);
}

function printWorkload(terminal: Terminal, { spec, ...view }: WorkloadView, cluster: ClusterView): void {
  const { template } = spec;
  const now = Date.now();
  printFields(terminal, [
    ['workload', spec.workload],
    ['kind', spec.kind],
    ['revision', `${spec.revision} of ${view.revisions.map(({ revision }) => revision).join(', ')}`],
    ['instances', `${view.ready} ready of ${spec.replicas} wanted, ${view.updated} of the current revision`],
    ['rollout', [view.rollout, view.message].filter(Boolean).join(': ')],
    [
      'strategy',
      Object.entries(spec.strategy)
        .map(([key, value]) => (key === 'kind' ? String(value) : `${key} ${value}`))
        .join(', '),
    ],
    ['image', template.image],
    ['runtime', template.runtime],
    ['requests', `${cores(template.requests.cpuMillis)} cores, ${bytes(template.requests.memoryBytes)}`],
    ['limits', `${cores(template.limits.cpuMillis)} cores, ${bytes(template.limits.memoryBytes)}`],
    ['changed', view.revisions.length > 0 ? clockTime(view.revisions.at(-1)?.time ?? 0, now) : undefined],
  ]);
  terminal.line();
  const { command, args, env, ports, readiness, liveness, labels } = template;
  terminal.line(
    stringify({ template: { command, args, env, ports, readiness, liveness, labels } }, { lineWidth: 0 }).trimEnd(),
  );
  const instances = cluster.instances.filter(({ workload }) => workload === spec.workload);
  if (instances.length === 0) return;
  terminal.line();
  const table = instanceTable({ colors: terminal.colors, wide: false, now: () => now });
  for (const line of table.render(instances)) terminal.line(line);
}

function printService(terminal: Terminal, view: ServiceView): void {
  const { spec, endpoints } = view;
  printFields(terminal, [
    ['service', spec.service],
    ['address', serviceAddresses(view).join(', ') || 'none: the stack has no ingress that serves it'],
    [
      'selector',
      Object.entries(spec.selector)
        .map(([key, value]) => `${key}=${value}`)
        .join(', '),
    ],
    ['ports', spec.ports.map(({ port, targetPort, protocol }) => `${port} → ${targetPort}/${protocol}`).join(', ')],
    ...endpoints.map(
      ({ instance, host, ports }, at) =>
        [at === 0 ? 'endpoints' : '', `${instance} at ${host}:${Object.values(ports).join(',')}`] as const,
    ),
  ]);
}

function printNode(terminal: Terminal, node: NodeView, cluster: ClusterView): void {
  printFields(terminal, [
    ['node', node.node],
    ['state', node.state],
    ['cpu', cpuOf(node.used, node.capacity)],
    ['memory', memoryOf(node.used, node.capacity)],
    ['runtimes', node.runtimes.map(({ name, version }) => `${name} ${version}`).join(', ')],
    ...Object.entries(node.attributes).map(([name, value]) => [name, value] as const),
  ]);
  const instances = cluster.instances.filter((each) => each.node === node.node && each.state !== 'removed');
  if (instances.length === 0) return;
  terminal.line();
  const table = instanceTable({ colors: terminal.colors, wide: false, now: Date.now });
  for (const line of table.render(instances)) terminal.line(line);
}

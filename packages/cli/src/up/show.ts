import type { CloudosClient } from '@cloudos/client';
import type { ClusterView, InstanceView, WorkloadView } from '@cloudos/sdk';
import { messageOf } from '@cloudos/sdk';
import { cut, plural } from '../output/format.ts';
import { Table } from '../output/table.ts';
import { eventTable, instanceTable, serviceAddresses } from '../output/tables.ts';
import type { Terminal } from '../terminal.ts';

const pageTimeoutMs = 5_000;
const answerMax = 100;
const lastEvents = 12;
/** Pages are fetched from that many instances of a workload at most. */
const pagesMax = 20;

/** Shows what runs: the instances, an answer from each, the last events, and what to try next. */
export async function showCluster(
  terminal: Terminal,
  client: CloudosClient,
  workloads: readonly string[],
): Promise<void> {
  const view = await client.view();
  const shown = view.instances.filter(({ workload, state }) => workloads.includes(workload) && state !== 'removed');
  heading(terminal, 'Instances');
  const table = instanceTable({ colors: terminal.colors, wide: false, now: Date.now });
  for (const line of table.render(shown)) terminal.line(`  ${line}`);
  await showAnswers(terminal, view, workloads);
  await showLastEvents(terminal, client);
  showNextSteps(terminal, view, workloads);
}

function heading(terminal: Terminal, text: string): void {
  terminal.line();
  terminal.line(terminal.colors.bold(text));
}

interface Answer {
  readonly name: string;
  readonly url: string;
  readonly status: string;
  readonly body: string;
  readonly ok: boolean;
}

async function showAnswers(terminal: Terminal, view: ClusterView, workloads: readonly string[]): Promise<void> {
  const targets = [...instancePages(view, workloads), ...servicePages(view, workloads)];
  if (targets.length === 0) return;
  const answers = await Promise.all(targets.map(({ name, url }) => fetchPage(name, url)));
  heading(terminal, 'Answers');
  const { green, red } = terminal.colors;
  const table = new Table<Answer>(
    [
      { header: 'FROM', value: ({ name }) => name },
      { header: 'PAGE', value: ({ url }) => url },
      { header: 'STATUS', value: ({ status }) => status, paint: (text, { ok }) => (ok ? green(text) : red(text)) },
      { header: 'ANSWER', value: ({ body }) => body },
    ],
    terminal.colors,
  );
  for (const line of table.render(answers)) terminal.line(`  ${line}`);
}

interface Page {
  readonly name: string;
  readonly url: string;
}

/** A simulated guest has an address that nobody listens on, or worse, somebody else. */
function isReal(view: ClusterView, { node, runtime }: InstanceView): boolean {
  const runtimes = view.nodes.find((each) => each.node === node)?.runtimes ?? [];
  return runtimes.find(({ name }) => name === runtime)?.features.simulated !== true;
}

/** Each instance at its own address, at the first TCP port of its template. */
export function instancePages(view: ClusterView, workloads: readonly string[]): Page[] {
  return view.workloads
    .filter(({ spec }) => workloads.includes(spec.workload))
    .flatMap((workload) =>
      view.instances
        .filter((instance) => instance.workload === workload.spec.workload && isReal(view, instance))
        .slice(0, pagesMax)
        .flatMap((instance) => pageOf(workload, instance)),
    );
}

function pageOf({ spec }: WorkloadView, { instance, address, state }: InstanceView): Page[] {
  const port = spec.template.ports.find(({ protocol }) => protocol === 'tcp')?.port;
  if (!address || port === undefined || (state !== 'ready' && state !== 'running')) return [];
  const authority = address.host.includes(':') ? `[${address.host}]` : address.host;
  return [{ name: instance, url: `http://${authority}:${address.ports?.[port] ?? port}/` }];
}

/** Each service that the ingress serves and that leads to one of the workloads. */
function servicePages(view: ClusterView, workloads: readonly string[]): Page[] {
  const ours = new Set(
    view.instances
      .filter((instance) => workloads.includes(instance.workload) && isReal(view, instance))
      .map(({ instance }) => instance),
  );
  return view.services
    .filter(({ endpoints }) => endpoints.some(({ instance }) => ours.has(instance)))
    .flatMap((service) => {
      const [address] = serviceAddresses(service);
      return address === undefined ? [] : [{ name: `service ${service.spec.service}`, url: `http://${address}/` }];
    });
}

async function fetchPage(name: string, url: string): Promise<Answer> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(pageTimeoutMs), redirect: 'manual' });
    const body = cut((await response.text()).trim(), answerMax);
    return { name, url, status: String(response.status), body, ok: response.ok };
  } catch (error) {
    const cause = (error as { cause?: unknown }).cause;
    return { name, url, status: 'none', body: messageOf(cause ?? error), ok: false };
  }
}

async function showLastEvents(terminal: Terminal, client: CloudosClient): Promise<void> {
  const { events } = await client.eventsPage({ direction: 'backwards', limit: lastEvents });
  heading(terminal, 'Last events');
  const width = terminal.interactive ? terminal.columns - 2 : undefined;
  const table = eventTable({ colors: terminal.colors, wide: false, now: Date.now, width });
  for (const line of table.render(events.reverse())) terminal.line(`  ${line}`);
}

function showNextSteps(terminal: Terminal, view: ClusterView, workloads: readonly string[]): void {
  const first = view.workloads.find(({ spec }) => workloads.includes(spec.workload));
  const name = first?.spec.workload.replace(/^default\//, '') ?? 'web';
  const instance = view.instances.find(({ workload }) => workload === first?.spec.workload)?.instance ?? name;
  const more = (first?.spec.replicas ?? 3) + 2;
  heading(terminal, 'Try next, in another terminal');
  const steps: [string, string][] = [
    ['npx cloudos get instances', 'what runs; -w watches, -o json for programs'],
    ["npx cloudos events -f --types 'Guest*'", 'what happens, as it happens'],
    [`npx cloudos scale ${name} ${more}`, `${plural(more, 'replica')}`],
    ['npx cloudos swap resources resources-spread', 'another resource manager, while everything runs'],
    [`npx cloudos why ${instance}`, 'why it is where it is'],
    [`npx cloudos exec ${instance} -- ps`, 'a command inside'],
    ['npx cloudos down', 'remove everything'],
  ];
  const width = Math.max(...steps.map(([command]) => command.length));
  for (const [command, what] of steps) terminal.line(`  ${command.padEnd(width)}   ${terminal.colors.dim(what)}`);
}

import type { CloudosClient } from '@cloudos/client';
import { CloudosError, type OrchestratorCommand } from '@cloudos/sdk';
import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { connect } from '../endpoint.ts';
import { type Outcome, readManifests, removalOutcomes } from '../manifest.ts';
import { timeoutOption } from '../options.ts';
import { plural } from '../output/format.ts';
import { splitReference } from '../resource-kinds.ts';
import { waitForView } from '../wait.ts';
import { printOutcomes } from './apply.command.ts';

interface DeleteOptions {
  readonly filename?: string[];
  readonly all?: boolean;
  readonly wait: boolean;
  readonly timeout: number;
}

export function addDelete(program: Command, context: CliContext): void {
  program
    .command('delete')
    .description('remove workloads and services')
    .argument('[names...]', 'web, default/web, deployment/web, or a kind and names')
    .option('-f, --filename <file...>', 'remove what these manifests declare; - reads standard input')
    .option('--all', 'remove every workload and service')
    .option('--no-wait', 'do not wait until the instances are gone')
    .addOption(timeoutOption('2m'))
    .addHelpText(
      'after',
      `
Examples:
  cloudos delete -f web.yaml
  cloudos delete deployment/web service/web
  cloudos delete deployment web api
  cloudos delete --all --no-wait`,
    )
    .action(async (names: string[], options: DeleteOptions) => {
      const commands = await commandsOf(context, names, options);
      const { client } = await connect(context);
      const outcomes = await removeAll(client, context, commands);
      if (options.wait) await waitUntilGone(client, outcomes, options.timeout);
    });
}

async function commandsOf(
  context: CliContext,
  names: readonly string[],
  { filename, all }: DeleteOptions,
): Promise<OrchestratorCommand[]> {
  if (all) return [{ type: 'RemoveAll' }];
  if (filename) {
    const manifests = await readManifests(context, filename);
    return manifests.map(({ text, source }) => ({ type: 'RemoveManifest', text, source }));
  }
  const [first, ...rest] = names;
  if (first === undefined) {
    throw new CloudosError('USAGE', 'nothing to delete was named', { remedy: 'Give a name, -f <file> or --all.' });
  }
  const kind = first.includes('/') ? undefined : splitReference(`${first}/`).kind;
  const references =
    kind !== undefined && rest.length > 0 ? rest.map((name) => ({ kind, name })) : names.map(splitReference);
  return references.map((reference) => ({ type: 'Remove', ...reference }));
}

async function removeAll(
  client: CloudosClient,
  { terminal }: CliContext,
  commands: readonly OrchestratorCommand[],
): Promise<Outcome[]> {
  const removed: Outcome[] = [];
  for (const command of commands) {
    const before = await client.view();
    const result = await client.command({ slot: 'orchestrator', command });
    const outcomes = removalOutcomes(before, result);
    printOutcomes(terminal, outcomes, result.warnings);
    removed.push(...outcomes);
  }
  if (removed.length === 0) terminal.note('nothing was there to delete');
  return removed;
}

/** Until no instance of the removed workloads is left. */
export async function waitUntilGone(
  client: CloudosClient,
  removed: readonly Outcome[],
  timeoutMs: number,
): Promise<void> {
  const keys = new Set(removed.filter(({ what }) => what === 'workload').map(({ key }) => key));
  if (keys.size === 0) return;
  const left = (instances: readonly { workload: string; state: string }[]) =>
    instances.filter(({ workload, state }) => keys.has(workload) && state !== 'removed').length;
  await waitForView(client, (view) => left(view.instances) === 0, {
    what: `the instances of ${[...keys].join(', ')} are gone`,
    timeoutMs,
    describe: (view) => `${plural(left(view.instances), 'instance')} left`,
  });
}

import type { CloudosClient } from '@cloudos/client';
import { printOutcomes } from '../commands/apply.command.ts';
import { waitUntilGone } from '../commands/delete.command.ts';
import {
  applyManifests,
  hindranceInWords,
  type Manifest,
  type Outcome,
  readyInWords,
  workloadsReady,
} from '../manifest.ts';
import type { Terminal } from '../terminal.ts';
import { waitForView } from '../wait.ts';
import { LiveProgress } from './live-progress.ts';
import { showCluster } from './show.ts';

export interface RunOptions {
  readonly show: boolean;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** Told at once, so that what was made can be removed again whatever happens afterwards. */
type OnApplied = (outcomes: readonly Outcome[]) => void;

/**
 * Applies manifests, follows what happens until every instance is ready, and shows the result.
 * @throws CloudosError of the command, or TIMED_OUT with what hinders
 */
export async function runManifests(
  terminal: Terminal,
  client: CloudosClient,
  manifests: readonly Manifest[],
  options: RunOptions,
  onApplied: OnApplied = () => {},
): Promise<void> {
  const started = Date.now();
  const { outcomes, warnings } = await applyManifests(client, manifests);
  onApplied(outcomes);
  printOutcomes(indented(terminal), outcomes, warnings);
  const workloads = outcomes.filter(({ what }) => what === 'workload').map(({ key }) => key);
  const view = await waitForView(client, (state) => workloadsReady(state, workloads), {
    what: 'every instance is ready',
    timeoutMs: options.timeoutMs,
    signal: options.signal,
    describe: (state) => hindranceInWords(state, workloads),
  });
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  const changed = outcomes.some(({ verb }) => verb === 'created' || verb === 'configured');
  terminal.line(`  ${terminal.colors.green(readyInWords(view, workloads))}${changed ? ` after ${seconds} s` : ''}`);
  if (options.show) await showCluster(terminal, client, workloads);
}

function indented(terminal: Terminal): Terminal {
  return { ...terminal, line: (text = '') => terminal.line(`  ${text}`), note: (text) => terminal.note(`  ${text}`) };
}

/** Runs with the steps printed as they happen. */
export async function withProgress<T>(terminal: Terminal, client: CloudosClient, work: () => Promise<T>): Promise<T> {
  const { head } = await client.status();
  const progress = new LiveProgress(client, head + 1, terminal);
  try {
    return await work();
  } finally {
    await client.status().then(
      (status) => progress.printed(status.head),
      () => {},
    );
    progress.stop();
  }
}

/** Removes the objects that were created, and waits until their instances are gone. */
export async function removeCreated(
  client: CloudosClient,
  outcomes: readonly Outcome[],
  timeoutMs: number,
): Promise<void> {
  const created = outcomes.filter(({ verb, what }) => verb === 'created' && what !== 'other');
  for (const { key, object } of created) {
    // A workload and a service may have the same name: `deployment.apps/web` says which.
    const [kind = ''] = object.split(/[./]/);
    await client.command({
      slot: 'orchestrator',
      command: { type: 'Remove', name: key, ...(kind === 'workload' ? {} : { kind }) },
    });
  }
  await waitUntilGone(client, created, timeoutMs);
}

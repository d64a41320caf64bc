import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { installedPlugins, type LoadedPlugin, type PluginSource, type PluginSpec, Slot } from '@cloudos/plugin-bus';
import {
  type DoctorReport,
  type GuestFingerprint,
  type HostCheck,
  messageOf,
  newId,
  type SlotName,
  silentLogger,
  systemClock,
} from '@cloudos/sdk';
import { firstValueFrom } from 'rxjs';
import { resolveStack } from './boot.ts';
import type { NodeAgent } from './node/node-agent.ts';
import { pluginDataDir } from './slot-factory.ts';
import { readStack } from './stack/stack.ts';

/** What a running node has found out about itself. */
export async function doctorChecks({ host, runtimes }: NodeAgent): Promise<HostCheck[]> {
  const checks = host?.active ? [...(await host.call('checks', (driver) => driver.checks()))] : [];
  for (const { fingerprint, slot } of runtimes) {
    if (fingerprint) checks.push(...runtimeChecks(fingerprint));
    else checks.push(failedCheck(slot.spec.plugin.definition.name, slot.view().reason ?? 'it has not started'));
  }
  return checks;
}

/**
 * Examines this machine for a stack without starting it: hosts and guest runtimes describe themselves. What a plugin
 * makes for that goes into a temporary directory. Errors: what is wrong with the stack file or a plugin.
 */
export async function examine(stackFile: string, plugins?: PluginSource): Promise<DoctorReport> {
  const trialDir = await mkdtemp(path.join(tmpdir(), 'cloudos-doctor-'));
  try {
    return await examineIn(trialDir, stackFile, plugins);
  } finally {
    await rm(trialDir, { recursive: true, force: true });
  }
}

async function examineIn(stateDir: string, stackFile: string, plugins?: PluginSource): Promise<DoctorReport> {
  const stack = await readStack(stackFile);
  const { nodes } = await resolveStack(stack, plugins ?? installedPlugins(stack.dir));
  const report = [];
  for (const { name: node, host, guests } of nodes.slice(0, nodesExamined)) {
    const place = { stateDir, node };
    const checks = await tryOut('host', host, place, (driver) => driver.checks());
    for (const guest of guests) checks.push(...(await tryOutGuest(guest, place)));
    report.push({ node, checks });
  }
  return { nodes: report };
}

/** What a guest plugin said of this machine. */
export interface GuestPluginReport {
  readonly plugin: string;
  readonly checks: readonly HostCheck[];
}

/**
 * Whether guest plugins could run here with their default configuration and with each of their alternatives, in the order
 * given. Nothing is started; what a plugin makes for that goes into a temporary directory.
 */
export async function examineGuestPlugins(plugins: readonly LoadedPlugin[]): Promise<GuestPluginReport[]> {
  const stateDir = await mkdtemp(path.join(tmpdir(), 'cloudos-doctor-'));
  try {
    const reports: GuestPluginReport[] = [];
    for (const plugin of plugins) {
      const { name, alternatives = [] } = plugin.definition;
      const checks = await tryOutGuest({ plugin, config: {} }, { stateDir, node: 'local' });
      for (const [index, config] of alternatives.entries()) {
        const settings = Object.entries(config).map(([key, value]) => `${key}: ${value}`);
        const place = { stateDir: path.join(stateDir, `alternative-${index}`), node: 'local' };
        for (const check of await tryOutGuest({ plugin, config }, place)) {
          checks.push({ ...check, name: `${check.name} (${settings.join(', ')})` });
        }
      }
      reports.push({ plugin: name, checks });
    }
    return reports;
  } finally {
    await rm(stateDir, { recursive: true, force: true });
  }
}

const tryOutGuest = (spec: PluginSpec, place: Place) =>
  tryOut('guest', spec, place, async (driver) => runtimeChecks(await firstValueFrom(driver.fingerprint())));

interface Place {
  readonly stateDir: string;
  readonly node: string;
}

/** Opens a driver for a look at it; one that does not open is a check that failed. */
async function tryOut<S extends SlotName>(
  slot: S,
  spec: ConstructorParameters<typeof Slot<S>>[0],
  { stateDir, node }: Place,
  look: (driver: Awaited<ReturnType<Slot<S>['prepare']>>['provider']) => Promise<readonly HostCheck[]>,
): Promise<HostCheck[]> {
  const trial = new Slot<S>(spec, {
    slot,
    node,
    clock: systemClock,
    newId,
    logger: silentLogger,
    stateDir,
    dataDir: (plugin) => pluginDataDir(stateDir, plugin, node),
    hooks: { activated: () => {}, deactivated: () => {}, failed: () => {} },
  });
  const checks: HostCheck[] = [];
  try {
    const { provider, scope } = await trial.prepare(spec);
    checks.push(...(await look(provider).finally(() => scope.close())));
  } catch (error) {
    checks.push(failedCheck(spec.plugin.definition.name, messageOf(error)));
  }
  return checks;
}

/** Nodes of a stack that are looked at: those of a simulation are all alike. */
const nodesExamined = 16;

function runtimeChecks(fingerprint: GuestFingerprint): HostCheck[] {
  const name = `runtime ${fingerprint.runtime}`;
  if (!fingerprint.available) {
    return [{ name, status: 'missing', found: fingerprint.reason, remedy: fingerprint.remedy }];
  }
  return [
    { name, status: 'ok', found: `version ${fingerprint.version}` },
    ...fingerprint.warnings.map(({ reason, remedy }) => ({ name, status: 'warning' as const, found: reason, remedy })),
  ];
}

function failedCheck(name: string, reason: string): HostCheck {
  return {
    name,
    status: 'missing',
    found: reason,
    remedy: 'See the reason; correct the stack file or reinstall the plugin.',
  };
}

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { installedPlugins, type PluginSource, Slot } from '@cloudos/plugin-bus';
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
  for (const { name, host, guests } of nodes.slice(0, nodesExamined)) {
    const checks: HostCheck[] = [];
    await tryOut('host', host, (driver) => driver.checks().then((found) => checks.push(...found)));
    for (const guest of guests) {
      await tryOut('guest', guest, async (driver) => {
        checks.push(...runtimeChecks(await firstValueFrom(driver.fingerprint())));
      });
    }
    report.push({ node: name, checks });

    async function tryOut<S extends SlotName>(
      slot: S,
      spec: ConstructorParameters<typeof Slot<S>>[0],
      look: (driver: Awaited<ReturnType<Slot<S>['prepare']>>['provider']) => Promise<unknown>,
    ): Promise<void> {
      const trial = new Slot<S>(spec, {
        slot,
        node: name,
        clock: systemClock,
        newId,
        logger: silentLogger,
        stateDir,
        dataDir: (plugin) => pluginDataDir(stateDir, plugin, name),
        hooks: { activated: () => {}, deactivated: () => {}, failed: () => {} },
      });
      try {
        const { provider, scope } = await trial.prepare(spec);
        await look(provider).finally(() => scope.close());
      } catch (error) {
        checks.push(failedCheck(spec.plugin.definition.name, messageOf(error)));
      }
    }
  }
  return { nodes: report };
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

import { join } from 'node:path';
import { DaemonLink, GuestRecords } from '@cloudos/host-tools';
import { CloudosError, type GuestFingerprint, type PluginContext } from '@cloudos/sdk';
import { BehaviorSubject } from 'rxjs';
import { type HostCommands, ToolsOfHost } from './host-commands.ts';
import type { SmartosConfig } from './smartos-config.ts';
import { type Machine, probeSmartos } from './smartos-probe.ts';
import { listenToVms } from './vm-events.ts';
import { VmRuns } from './vm-runs.ts';
import { VmadmDriver } from './vmadm.driver.ts';
import { Vmadm } from './vmadm.ts';
import type { VmRecord } from './vmadm-record.ts';

/** What of the configuration of zones counts on SmartOS. */
export interface SmartosZonesConfig {
  readonly smartos: SmartosConfig;
  readonly hostPaths: readonly string[];
  readonly logs: { readonly maxBytes: number };
  readonly retryMs: number;
}

/** Makes the driver of zones on SmartOS, which keeps looking for it while it is not there. */
export async function createSmartosZones(
  { scope, clock, logger, dataDir, node }: PluginContext,
  config: SmartosZonesConfig,
  machine: Machine,
  commands: HostCommands = new ToolsOfHost(config.smartos.commandTimeoutMs),
): Promise<VmadmDriver> {
  const probe = () => probeSmartos(machine, commands, config.smartos);
  const fingerprints = new BehaviorSubject<GuestFingerprint>(await probe());
  scope.defer('fingerprint', () => fingerprints.complete());
  const records = new GuestRecords<VmRecord>(join(dataDir, 'vms'));
  const vmadm = new Vmadm(commands);
  const { smartos, hostPaths, logs } = config;
  const environment = { vmadm, node: node?.id ?? 'local', config: smartos, hostPaths, logMaxBytes: logs.maxBytes };
  const driver = new VmadmDriver({
    fingerprints,
    check: () => {
      if (fingerprints.value.available) return;
      const { reason, remedy } = fingerprints.value;
      throw new CloudosError('RUNTIME_UNAVAILABLE', reason, { remedy });
    },
    commands,
    vmadm,
    runs: new VmRuns(environment, records),
    records,
  });
  scope.defer('exits', () => driver.close());
  const warn = (error: unknown) => logger.warn(`zones: ${error instanceof Error ? error.message : String(error)}`);
  const link = new DaemonLink({
    name: 'vmadm events',
    clock,
    logger,
    retryMs: config.retryMs,
    wake: async () => {
      if (!fingerprints.value.available) fingerprints.next(await probe());
      if (!fingerprints.value.available) throw new CloudosError('RUNTIME_UNAVAILABLE', fingerprints.value.reason);
    },
    connect: (signal, lost) => listenToVms(commands, signal, (uuid) => void driver.lookAt(uuid).catch(warn), lost),
  });
  const connected = link.connected.subscribe((now) => now && void driver.lookAtAll().catch(warn));
  scope.defer('events of zones', () => {
    connected.unsubscribe();
    link.end();
  });
  await link.begin();
  return driver;
}

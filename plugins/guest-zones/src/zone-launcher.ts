import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readdirSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type ControlGroups,
  checkMounts,
  closedStdio,
  logSizes,
  removeTree,
  resolveEnvironment,
  toolEnvironment,
} from '@cloudos/host-tools';
import type { ImageStore } from '@cloudos/images';
import { macOf, type NodeNetwork } from '@cloudos/node-network';
import { CloudosError, type ErrorCode, errorCodes, type GuestSpec } from '@cloudos/sdk';
import type { HostAbilities } from './host-probe.ts';
import { launchPlanText, planName, takenPlanName } from './launch-plan-text.ts';
import { environmentFile, environmentLine, type LaunchPlan, launchScript } from './launch-script.ts';
import { startForwarder } from './port-forwarder.ts';
import type { Toolbox } from './toolbox.ts';
import { fstabOf, type Userland, writeOwnFiles } from './userland.ts';
import { makeZoneDisk } from './zone-disk.ts';
import { hostNameOf, ownerName, zoneName } from './zone-name.ts';
import { brandOf, zoneLimits, zoneRequests } from './zone-options.ts';
import { makeMountPoints, writtenTo, type ZoneRoot, zoneMounts, zoneRoot } from './zone-root.ts';
import type { ZoneSpawner } from './zone-spawner.ts';
import type { ZoneRun, ZoneState, ZoneStore } from './zone-state.ts';

/** What zones of one node are made with. */
export interface ZoneEnvironment {
  readonly dataDir: string;
  readonly stateDir: string;
  readonly store: ZoneStore;
  readonly abilities: HostAbilities;
  readonly groups: ControlGroups;
  readonly userland: Userland;
  readonly toolbox: Toolbox;
  readonly images: ImageStore;
  /** Directories below which guests may mount paths of the node. */
  readonly hostPaths: readonly string[];
  /** Begins the names under which zones hold images: `zones <node>/`. */
  readonly holderPrefix: string;
  /** Absent: ports are forwarded. */
  readonly network: NodeNetwork | undefined;
  readonly logMaxBytes: number;
  readonly startTimeoutMs: number;
  /** Absent: each zone is launched by a script of its own. */
  readonly spawner: ZoneSpawner | undefined;
}

/** The environment that a guest's programs begin with. */
export async function guestEnvironment(
  { stateDir }: ZoneEnvironment,
  { spec }: ZoneState,
  root: ZoneRoot,
): Promise<Record<string, string>> {
  return { ...root.env, ...(await resolveEnvironment(stateDir, spec.template.env)) };
}

/** The state of a zone that is about to be launched: to be saved before {@link launchZone}. */
export async function planLaunch(
  environment: ZoneEnvironment,
  state: ZoneState,
  attempt: number,
  previousAttempt: number,
): Promise<ZoneState> {
  const zone = zoneName(state.spec.instance);
  const address = await environment.network?.claim(ownerName(zone), state.address);
  const { stopping: _stopping, paused: _paused, forwarder: _forwarder, ...kept } = state;
  return {
    ...kept,
    attempt,
    launch: randomBytes(8).toString('hex'),
    previousAttempt,
    ...(address === undefined ? {} : { address }),
  };
}

/**
 * Runs a zone of a saved state. Resolves when its program was started.
 * @throws CloudosError COMMAND_NOT_FOUND, GUEST_SPEC_INVALID, GUEST_START_FAILED; what was begun may be left for the caller to clear
 */
export async function launchZone(environment: ZoneEnvironment, state: ZoneState): Promise<ZoneRun> {
  const zone = zoneName(state.spec.instance);
  const directory = environment.store.directory(zone);
  await environment.store.forgetRun(zone);
  const plan = await prepareFiles(environment, state, zone, directory);
  const { spawner, startTimeoutMs } = environment;
  writeFileSync(join(directory, environmentFile), environmentLine(plan), { mode: 0o600 });
  if (spawner) await launchByPlan(spawner, directory, plan, startTimeoutMs);
  else await launchByScript(directory, plan, startTimeoutMs);
  const run = environment.store.run(zone);
  if (!run || run.launch !== state.launch)
    throw new CloudosError('GUEST_START_FAILED', `${zone}: no record of the run`);
  return run;
}

/** Forwards the ports of a running zone, where there is no bridge. Returns the state to be saved, or undefined. */
export async function forwardPorts(
  environment: ZoneEnvironment,
  state: ZoneState,
  run: ZoneRun,
): Promise<ZoneState | undefined> {
  const ports = state.spec.template.ports.filter(({ protocol }) => protocol === 'tcp').map(({ port }) => port);
  if (environment.network || ports.length === 0) return undefined;
  const forwarder = await startForwarder({
    zone: run.init,
    rootless: environment.abilities.rootless,
    ports: [...new Set(ports)],
    preferred: state.ports ?? {},
  });
  return { ...state, ports: forwarder.ports, forwarder: forwarder.process };
}

/** Makes all that a launch needs: files of the zone and its control groups, which take the kernel as long as the files. */
async function prepareFiles(
  environment: ZoneEnvironment,
  state: ZoneState,
  zone: string,
  directory: string,
): Promise<LaunchPlan> {
  const { template } = state.spec;
  const groups = environment.groups.make(zone, zoneLimits(template), zoneRequests(template));
  const files = prepareDirectory(environment, state, directory);
  const [controlGroups, root] = await Promise.all([groups, files]);
  return launchPlan(environment, state, root, controlGroups);
}

/** What a run before may have left beside the layers of the zone. */
const filesOfRun = [
  'own',
  'failed',
  'stdout.end',
  'stderr.end',
  'out',
  'err',
  'go',
  'up',
  'disk.img',
  takenPlanName,
  environmentFile,
];

async function prepareDirectory(environment: ZoneEnvironment, state: ZoneState, directory: string): Promise<ZoneRoot> {
  const { spec } = state;
  const layers = layersOf(environment, spec);
  const ofRuns = new Set([...filesOfRun, ...layers]);
  const left = readdirSync(directory).filter((name) => ofRuns.has(name) || name.startsWith(planName('')));
  for (const name of left) await removeTree(join(directory, name));
  const own = join(directory, 'own');
  mkdirSync(own, { mode: 0o755 });
  writeOwnFiles(own, hostNameOf(spec), state.address);
  makeMountPoints(own, await checkMounts(spec.template.mounts, environment.hostPaths));
  if (writtenTo(spec) === 'disk') await makeZoneDisk(directory, zoneLimits(spec.template).diskBytes, layers);
  else for (const name of layers) mkdirSync(join(directory, name), { mode: 0o755 });
  return zoneRoot(environment, spec, state.image);
}

/** Directories for what the zone writes: of its root, and of its own copies of the host's programs. */
function layersOf({ userland }: ZoneEnvironment, { template }: GuestSpec): string[] {
  const own = brandOf(template) === 'whole-root' ? userland.ownPrograms : [];
  return ['upper', 'work', ...own.flatMap(({ name }) => [name, `${name}-work`])];
}

async function launchPlan(
  environment: ZoneEnvironment,
  state: ZoneState,
  root: ZoneRoot,
  controlGroups: readonly string[],
): Promise<LaunchPlan> {
  const { abilities, groups, network, store, toolbox } = environment;
  const zone = zoneName(state.spec.instance);
  const bridge = state.address === undefined ? undefined : await network?.ensure();
  const { template } = state.spec;
  const directory = store.directory(zone);
  const oomFile = groups.oomFile(zone);
  const limits = zoneLimits(template);
  const byRlimit = limits.pids > 0 && !groups.holds('pids') && abilities.processMaxByRlimit;
  const shimGroup = groups.shimGroup();
  const variables = await guestEnvironment(environment, state, root);
  return {
    launch: state.launch ?? '',
    directory,
    exitFile: join(store.exitsDir, zone),
    rootless: abilities.rootless,
    hostName: hostNameOf(state.spec),
    controlGroups,
    ...(shimGroup === undefined ? {} : { shimGroup }),
    ...(oomFile === undefined ? {} : { oomFile }),
    ...(bridge && network && state.address !== undefined
      ? {
          link: {
            bridge: bridge.name,
            name: network.linkName(ownerName(zone)),
            address: state.address,
            mac: macOf(state.address),
            prefix: bridge.prefix,
          },
        }
      : {}),
    ...(abilities.overlay ? {} : { copyToTmpfs: [...[...root.lower].reverse(), join(directory, 'own')] }),
    readOnlyCopy: template.readOnlyRoot,
    logMaxBytes: environment.logMaxBytes,
    logSizes: await logSizes(directory),
    ...(toolbox.logger === undefined ? {} : { logger: toolbox.logger }),
    root,
    mounts: zoneMounts(environment, root, state.spec, directory),
    user: root.user,
    ...(byRlimit ? { processMax: limits.pids } : {}),
    workingDir: root.workingDir,
    env: Object.entries(variables),
    envOptions: abilities.envOptions,
    path: variables.PATH ?? '',
    command: root.command,
  };
}

/** By the spawner: the plan is a file that it takes. */
async function launchByPlan(
  spawner: ZoneSpawner,
  directory: string,
  plan: LaunchPlan,
  timeoutMs: number,
): Promise<void> {
  writeFileSync(join(directory, planName(plan.launch)), launchPlanText(plan), { mode: 0o600 });
  const report = await spawner.launch(directory, plan.launch, timeoutMs);
  if (report !== 'ok') throw await launchFailure(directory, report, '');
}

/** Runs the script's `launch` to its end. Past the deadline its whole process group is killed, the shim with it. */
async function launchByScript(directory: string, plan: LaunchPlan, timeoutMs: number): Promise<void> {
  writeFileSync(join(directory, 'fstab'), fstabOf(plan.mounts));
  writeFileSync(join(directory, 'start.sh'), launchScript(plan), { mode: 0o700 });
  const output = openSync(join(directory, 'start.err'), 'w', 0o600);
  const ended = await new Promise<string>((resolve) => {
    const child = spawn('/bin/sh', [join(directory, 'start.sh'), 'launch'], {
      cwd: '/',
      env: { ...toolEnvironment },
      detached: true,
      stdio: closedStdio(['ignore', 'ignore', output]),
    });
    const timer = setTimeout(() => {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      resolve(`did not end in ${timeoutMs} ms`);
    }, timeoutMs);
    child.once('error', (error) => resolve(String(error)));
    child.once('exit', (code, signal) => {
      clearTimeout(timer);
      resolve(code === 0 ? '' : `ended with ${code ?? signal}`);
    });
  });
  closeSync(output);
  if (ended === '') return;
  throw await launchFailure(directory, await readFile(join(directory, 'failed'), 'utf8').catch(() => ''), ended);
}

/** @param report `fail <code> <words>`, or nothing */
async function launchFailure(directory: string, report: string, ended: string): Promise<CloudosError> {
  const [, code = '', ...words] = report.trim().split(' ');
  const said = (await readFile(join(directory, 'start.err'), 'utf8').catch(() => '')).trim().slice(-2_000);
  const known =
    Object.hasOwn(errorCodes, code) && code !== 'HOST_COMMAND_FAILED' ? (code as ErrorCode) : 'GUEST_START_FAILED';
  const message = [words.join(' '), said].filter(Boolean).join(': ') || `the launch ${ended}`;
  return new CloudosError(known, known === 'COMMAND_NOT_FOUND' ? 'the command does not exist in the zone' : message);
}

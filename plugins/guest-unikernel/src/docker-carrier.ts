import { spawn } from 'node:child_process';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  digest,
  findTool,
  isAlive,
  logSizes,
  type ProcessIdentity,
  processesWithArgument,
  runCommand,
  signalProcess,
  startTimeOf,
  toolEnvironment,
} from '@cloudos/host-tools';
import {
  type Carrier,
  machineDir,
  prepareRun,
  type QemuLaunch,
  type QemuRun,
  shimScript,
  startScript,
  type VmHost,
} from '@cloudos/qemu';
import { CloudosError, type GuestStats, messageOf } from '@cloudos/sdk';
import type Docker from 'dockerode';
import { qemuInRoot, qemuRoot } from './qemu-root.ts';

const importMaxMs = 120_000;
const reconnectMs = 500;
const ownerLabel = 'io.cloudos.owner';
const launchLabel = 'io.cloudos.launch';
const guestLabel = 'io.cloudos.guest';

interface DockerStatus {
  readonly statusCode?: number;
}

/**
 * QEMU in a container of a Docker Engine: no capability, a read-only root with QEMU alone, no network but the cable that
 * is plugged in from outside, no device but the one for taps. The engine keeps how it ended.
 */
export class DockerCarrier implements Carrier {
  readonly kind = 'docker';
  readonly ownNetwork = true;
  readonly #docker: Docker;
  readonly #host: VmHost;
  readonly #owner: string;
  readonly #image: string;
  readonly #consoles = new Map<string, () => void>();

  private constructor(docker: Docker, host: VmHost, image: string) {
    this.#docker = docker;
    this.#host = host;
    this.#owner = digest(host.context.dataDir, 10);
    this.#image = image;
  }

  /** Brings QEMU into the engine as an image, once for each version. */
  static async open(docker: Docker, host: VmHost): Promise<DockerCarrier> {
    const { dataDir } = host.context;
    const root = await qemuRoot(host.qemu.path, dataDir);
    const image = `cloudos-qemu:${root.key}`;
    const known = await docker
      .getImage(image)
      .inspect()
      .then(
        () => true,
        () => false,
      );
    if (!known) await importRoot(docker, root.path, image);
    const device = join(dataDir, 'tun');
    // With a mode of its own: the engine gives a device to the container as it is.
    await runCommand(findTool('mknod') ?? 'mknod', ['-m', '666', device, 'c', '10', '200']).catch((error: unknown) => {
      if (!/File exists/.test(messageOf(error))) throw error;
    });
    return new DockerCarrier(docker, host, image);
  }

  #name(name: string): string {
    return `cloudos-${this.#owner}-${name}`;
  }

  async launch(run: QemuLaunch): Promise<void> {
    const { store, config } = this.#host;
    await prepareRun(store, run.name);
    const script = shimScript({
      launch: run.launch,
      directory: run.directory,
      logger: store.logger,
      logMaxBytes: config.logs.maxBytes,
      logSizes: await logSizes(run.directory),
    });
    const [release, container] = await Promise.all([
      startScript(join(run.directory, 'shim.sh'), script, 'pipe'),
      this.#create(run),
    ]);
    this.#consoles.set(run.name, release);
    await container.start().catch(refused('the container could not be started'));
    const { State } = await container.inspect();
    const startTime = startTimeOf(State.Pid);
    const record = { launch: run.launch, process: startTime === undefined ? undefined : { pid: State.Pid, startTime } };
    await writeFile(join(run.directory, 'run.tmp'), JSON.stringify(record));
    await rename(join(run.directory, 'run.tmp'), join(run.directory, 'run'));
  }

  #create(run: QemuLaunch): Promise<Docker.Container> {
    const { user } = this.#host.config;
    const { limits, requests } = run;
    return this.#docker
      .createContainer({
        name: this.#name(run.name),
        Image: this.#image,
        Entrypoint: [qemuInRoot],
        Cmd: [...run.args],
        WorkingDir: '/guest',
        User: `${user}:${user}`,
        Env: ['LC_ALL=C'],
        NetworkDisabled: false,
        Labels: { [ownerLabel]: this.#owner, [launchLabel]: run.launch, [guestLabel]: run.name },
        HostConfig: {
          NetworkMode: 'none',
          CapDrop: ['ALL'],
          SecurityOpt: ['no-new-privileges'],
          ReadonlyRootfs: true,
          Binds: [`${join(run.directory, machineDir)}:/guest:rw`],
          Devices: [
            {
              PathOnHost: join(this.#host.context.dataDir, 'tun'),
              PathInContainer: '/dev/net/tun',
              CgroupPermissions: 'rw',
            },
          ],
          Memory: limits.memoryBytes,
          MemorySwap: limits.memoryBytes,
          PidsLimit: limits.pids,
          CpuShares: Math.min(262_144, Math.max(2, Math.round((requests.cpuMillis * 1024) / 1000))),
          ...(limits.cpuMillis > 0
            ? { CpuPeriod: 100_000, CpuQuota: Math.max(1000, Math.round(limits.cpuMillis * 100)) }
            : {}),
          LogConfig: { Type: 'json-file', Config: { 'max-size': '64k', 'max-file': '1' } },
        },
      })
      .catch(refused('the container could not be made'));
  }

  began(name: string): void {
    this.#consoles.get(name)?.();
    this.#consoles.delete(name);
  }

  async look(name: string, launch: string): Promise<QemuRun> {
    const record = await this.#record(name);
    const process = record?.launch === launch ? record.process : undefined;
    let found: Docker.ContainerInspectInfo | undefined;
    try {
      found = await this.#docker.getContainer(this.#name(name)).inspect();
    } catch (error) {
      if ((error as DockerStatus).statusCode === undefined) {
        // The engine is away; what it runs is not.
        if (process && isAlive(process)) return { phase: 'running', process };
        throw new CloudosError('RUNTIME_UNAVAILABLE', `the Docker Engine does not answer: ${messageOf(error)}`, {
          cause: error,
        });
      }
    }
    if (found?.Config.Labels?.[launchLabel] !== launch) {
      return record?.launch === launch ? { phase: 'ended', end: { status: 'lost', oomKills: 0 } } : { phase: 'unborn' };
    }
    const { Running, Status, Pid, ExitCode, OOMKilled } = found.State;
    if (Running) {
      const startTime = startTimeOf(Pid);
      return { phase: 'running', ...(startTime === undefined ? {} : { process: { pid: Pid, startTime } }) };
    }
    if (Status === 'created') return { phase: 'unborn' };
    return { phase: 'ended', end: { status: ExitCode, oomKills: OOMKilled ? 1 : 0 } };
  }

  async kill(name: string): Promise<void> {
    await this.#docker
      .getContainer(this.#name(name))
      .kill({ signal: 'SIGKILL' })
      .catch((error: DockerStatus) => {
        if (error.statusCode === undefined) throw refusal('the container could not be killed', error);
      });
  }

  async clear(name: string): Promise<void> {
    await this.#docker
      .getContainer(this.#name(name))
      .remove({ force: true })
      .catch((error: DockerStatus) => {
        if (error.statusCode !== 404) throw refusal('the container could not be removed', error);
      });
    this.began(name);
    const script = join(this.#host.store.directory(name), 'shim.sh');
    for (const process of processesWithArgument(script)) signalProcess(process, 'SIGKILL');
  }

  async stats(name: string): Promise<GuestStats> {
    const stats = await this.#docker.getContainer(this.#name(name)).stats({ stream: false, 'one-shot': true });
    return {
      ...(stats.cpu_stats?.cpu_usage ? { cpuNanos: stats.cpu_stats.cpu_usage.total_usage } : {}),
      ...(stats.memory_stats?.usage === undefined ? {} : { memoryBytes: stats.memory_stats.usage }),
    };
  }

  watch(ended: (name: string) => void): () => void {
    let stream: (NodeJS.ReadableStream & { destroy?: () => void }) | undefined;
    let timer: NodeJS.Timeout | undefined;
    let stopped = false;
    const again = () => {
      if (!stopped) timer ??= setTimeout(follow, reconnectMs);
    };
    const follow = () => {
      timer = undefined;
      const filters = { type: ['container'], event: ['die'], label: [`${ownerLabel}=${this.#owner}`] };
      this.#docker.getEvents({ filters: JSON.stringify(filters) }).then((opened) => {
        if (stopped) return (opened as typeof stream)?.destroy?.();
        stream = opened;
        opened.on('data', (data: Buffer) => {
          for (const match of data.toString().matchAll(new RegExp(`"${guestLabel}":"([^"]+)"`, 'g')))
            ended(match[1] ?? '');
        });
        opened.on('error', again);
        opened.on('end', again);
        opened.on('close', again);
      }, again);
    };
    follow();
    return () => {
      stopped = true;
      clearTimeout(timer);
      stream?.destroy?.();
    };
  }

  async lastWords(name: string): Promise<string> {
    const said = await this.#docker
      .getContainer(this.#name(name))
      .logs({ stdout: true, stderr: true, tail: 20 })
      .catch(() => undefined);
    return said ? withoutHeads(said).trim().slice(-2_000) : '';
  }

  async purge(): Promise<void> {
    const filters = JSON.stringify({ label: [`${ownerLabel}=${this.#owner}`] });
    for (const { Id } of await this.#docker.listContainers({ all: true, filters })) {
      await this.#docker
        .getContainer(Id)
        .remove({ force: true })
        .catch(() => {});
    }
    await this.#docker
      .getImage(this.#image)
      .remove({ force: true })
      .catch(() => {});
    await rm(join(this.#host.context.dataDir, 'tun'), { force: true });
  }

  async #record(name: string): Promise<{ launch: string; process?: ProcessIdentity } | undefined> {
    try {
      return JSON.parse(await readFile(join(this.#host.store.directory(name), 'run'), 'utf8'));
    } catch {
      return undefined;
    }
  }
}

async function importRoot(docker: Docker, root: string, image: string): Promise<void> {
  await mkdir(root, { recursive: true });
  const tar = spawn(
    findTool('tar') ?? 'tar',
    ['--numeric-owner', '--owner=0', '--group=0', '-C', root, '-cf', '-', '.'],
    {
      env: { ...toolEnvironment },
      stdio: ['ignore', 'pipe', 'ignore'],
    },
  );
  const [repo = '', tag = ''] = image.split(':');
  const answer = await docker.importImage(tar.stdout, { repo, tag });
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new CloudosError('HOST_COMMAND_FAILED', 'the engine took no image of QEMU')),
      importMaxMs,
    );
    docker.modem.followProgress(answer, (error) => {
      clearTimeout(timer);
      if (error) reject(refusal('the engine took no image of QEMU', error));
      else resolve();
    });
  });
}

function refused(about: string): (error: unknown) => never {
  return (error) => {
    throw refusal(about, error);
  };
}

function refusal(about: string, error: unknown): CloudosError {
  const message = `${about}: ${messageOf(error)}`;
  if ((error as DockerStatus).statusCode === undefined)
    return new CloudosError('RUNTIME_UNAVAILABLE', message, { cause: error });
  return new CloudosError(/no space left/i.test(message) ? 'DISK_FULL' : 'HOST_COMMAND_FAILED', message, {
    cause: error,
  });
}

/** Without the head of each piece: stream and length in eight bytes (Engine API, "Attach to a container"). */
function withoutHeads(said: Buffer): string {
  let text = '';
  for (let at = 0; at + 8 <= said.length; ) {
    const end = at + 8 + said.readUInt32BE(at + 4);
    text += said.toString('utf8', at + 8, end);
    at = end;
  }
  return text;
}

import { existsSync, readFileSync } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  DetachedDaemon,
  digest,
  endProcess,
  findTool,
  LoopVolume,
  type OwnDaemon,
  runCommand,
  startTimeOf,
  unmountBelow,
} from '@cloudos/host-tools';
import { CloudosError, type GuestFingerprint } from '@cloudos/sdk';
import { askEngine, connect } from './engine.ts';
import { endUnknownRuns, looseCables, removeCables, sweepRoots } from './engine-leftovers.ts';

const stopMaxMs = 20_000;
/** What runs an engine, the engine itself first, and the Debian package of each. */
const tools = [
  ['dockerd', 'docker.io'],
  ['containerd', 'containerd'],
  ['runc', 'runc'],
] as const;

/**
 * A dockerd of this data directory alone: socket, images and containers are apart from those of any other engine.
 * `--live-restore` lets containers run on when it ends, and take up with the next one
 * (https://docs.docker.com/engine/daemon/live-restore/). All that it keeps lies in a file system of its own, of bounded
 * size, in which each container can have a limit; where that cannot be, in a plain directory.
 */
export class OwnEngine implements OwnDaemon {
  readonly #dataDir: string;
  /** Sockets have a path of at most 107 bytes (unix(7)), so they don't lie in the data directory. */
  readonly #runDir: string;
  readonly #volume: LoopVolume;
  readonly #bridge: () => Promise<string | undefined>;
  #ensuring: Promise<void> | undefined;

  /**
   * @param diskMaxBytes the most that the engine keeps, where that can be bounded
   * @param bridge what its containers are plugged in to, if that is there
   */
  constructor(
    dataDir: string,
    diskMaxBytes: number,
    bridge: () => Promise<string | undefined> = async () => undefined,
  ) {
    this.#dataDir = dataDir;
    this.#bridge = bridge;
    this.#volume = new LoopVolume({
      directory: join(dataDir, 'engine'),
      image: join(dataDir, 'engine.img'),
      sizeBytes: diskMaxBytes,
    });
    this.#runDir = `/run/cloudos-docker-${digest(dataDir, 12)}`;
  }

  get socket(): string {
    return join(this.#runDir, 'docker.sock');
  }

  get isRunning(): boolean {
    return this.#daemon('dockerd').running() !== undefined;
  }

  /**
   * Why containers have no limits of disk here, and what would change it; undefined: they have. An engine that keeps its
   * containers in a plain directory goes on so.
   */
  diskObstacle(): { readonly reason: string; readonly remedy: string } | undefined {
    if (this.#volume.exists) return undefined;
    if (!existsSync(this.#directory)) return LoopVolume.obstacle();
    return {
      reason: `the engine was begun in a plain directory, ${this.#directory}`,
      remedy: '`cloudos down`, then begin anew with btrfs-progs installed',
    };
  }

  get #directory(): string {
    return join(this.#dataDir, 'engine');
  }

  get #execRoot(): string {
    return join(this.#runDir, 'exec');
  }

  /** Bounds what a container that does not run yet may write to its root. @throws CloudosError HOST_COMMAND_FAILED */
  async limitDisk(container: string, diskBytes: number): Promise<void> {
    // The engine does not tell where the root of a container is. With its own `size` the image would count too.
    const mounts = join(this.#directory, 'image/btrfs/layerdb/mounts', container);
    const id = await readFile(join(mounts, 'mount-id'), 'utf8');
    await this.#volume.limit(join(this.#directory, 'btrfs/subvolumes', id.trim()), diskBytes);
  }

  /** Of the program that would be started. @throws CloudosError RUNTIME_UNAVAILABLE */
  async version(): Promise<string> {
    const said = await runCommand(this.#program(), ['--version']);
    return /version ([^\s,]+)/.exec(said)?.[1] ?? said.trim();
  }

  async describe(): Promise<GuestFingerprint> {
    const version = await this.version();
    const lacking = this.diskObstacle();
    const warnings = lacking ? [{ ...lacking, reason: `a disk limit cannot be kept: ${lacking.reason}` }] : [];
    return { available: true, runtime: 'docker', version, features: { diskLimit: !lacking }, warnings };
  }

  #program(): string {
    const [program] = tools.map(([tool]) => findTool(tool));
    const missing = tools.filter(([tool]) => !findTool(tool));
    if (!program || missing.length > 0) {
      const names = missing.map(([tool]) => tool).join(', ');
      throw new CloudosError('RUNTIME_UNAVAILABLE', `there is no ${names} on this host`, {
        remedy: `apt-get install ${missing.map(([, debianPackage]) => debianPackage).join(' ')}`,
      });
    }
    if (process.geteuid?.() === 0) return program;
    throw new CloudosError('RUNTIME_UNAVAILABLE', 'a dockerd needs root', { remedy: 'run as root' });
  }

  /** Starts the daemon unless it runs. @throws CloudosError RUNTIME_UNAVAILABLE */
  async ensure(timeoutMs: number): Promise<void> {
    const program = this.#program();
    this.#ensuring ??= this.#ensure(program, timeoutMs).finally(() => {
      this.#ensuring = undefined;
    });
    return this.#ensuring;
  }

  async #ensure(program: string, timeoutMs: number): Promise<void> {
    await mkdir(this.#runDir, { recursive: true, mode: 0o700 });
    if (!this.diskObstacle()) await this.#volume.ensure();
    const daemon = this.#daemon(program);
    const comeUp = () => daemon.ensure(() => askEngine(connect(this.socket), timeoutMs), timeoutMs);
    if (daemon.running()) return comeUp();
    // Pid files that were left by ones that were killed keep the next from coming up, as long as nobody reaps them.
    await rm(join(this.#runDir, 'docker.pid'), { force: true });
    if (!this.#containerd()) await rm(this.#containerdPidFile, { force: true });
    await endUnknownRuns(this.#directory, this.#execRoot);
    if (this.#volume.exists) await sweepRoots(this.#directory);
    const bridge = await this.#bridge();
    const cables = bridge === undefined ? [] : await looseCables(bridge);
    await comeUp();
    if (bridge !== undefined) await removeCables(bridge, cables);
  }

  #daemon(program: string): DetachedDaemon {
    const flags = ['--bridge=none', '--iptables=false', '--ip-masq=false', '--userland-proxy=false', '--live-restore'];
    const mark = `--host=unix://${this.socket}`;
    const args = [
      ...flags,
      `--data-root=${this.#directory}`,
      ...(this.#volume.exists ? ['--storage-driver=btrfs'] : []),
      `--exec-root=${this.#execRoot}`,
      `--pidfile=${join(this.#runDir, 'docker.pid')}`,
      '--log-level=warn',
      mark,
    ];
    const logFile = join(this.#dataDir, 'engine.log');
    return new DetachedDaemon({ program, args, logFile, identityFile: join(this.#runDir, 'daemon.json'), mark });
  }

  /** Ends the daemon and its containerd, and removes all that they kept. Containers must be gone already. */
  async remove(): Promise<void> {
    await this.#daemon('dockerd').stop(stopMaxMs);
    const containerd = this.#containerd();
    if (containerd) await endProcess(containerd, stopMaxMs);
    await unmountBelow(this.#runDir);
    await rm(this.#runDir, { recursive: true, force: true });
    if (this.#volume.exists) await this.#volume.remove();
    await unmountBelow(this.#directory);
    await rm(this.#directory, { recursive: true, force: true });
    await rm(join(this.#dataDir, 'engine.log'), { force: true });
  }

  get #containerdPidFile(): string {
    return join(this.#execRoot, 'containerd/containerd.pid');
  }

  /** The containerd that dockerd has started, which outlives a dockerd that is killed. */
  #containerd() {
    try {
      const pid = Number(readFileSync(this.#containerdPidFile, 'utf8'));
      const startTime = startTimeOf(pid);
      // A pid file outlives its daemon, and the pid may be another's by now.
      const name = readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
      return startTime !== undefined && name === 'containerd' ? { pid, startTime } : undefined;
    } catch {
      return undefined;
    }
  }
}

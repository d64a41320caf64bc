import { readFileSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  DetachedDaemon,
  digest,
  endProcess,
  findTool,
  runCommand,
  startTimeOf,
  unmountBelow,
} from '@cloudos/host-tools';
import { CloudosError } from '@cloudos/sdk';
import { askEngine, connect } from './engine.ts';

const stopMaxMs = 20_000;

/**
 * A dockerd of this data directory alone: socket, images and containers are apart from those of any other engine.
 * `--live-restore` lets containers run on when it ends, and take up with the next one
 * (https://docs.docker.com/engine/daemon/live-restore/).
 */
export class OwnEngine {
  readonly #dataDir: string;
  /** Sockets have a path of at most 107 bytes (unix(7)), so they don't lie in the data directory. */
  readonly #runDir: string;
  #ensuring: Promise<void> | undefined;

  constructor(dataDir: string) {
    this.#dataDir = dataDir;
    this.#runDir = `/run/cloudos-docker-${digest(dataDir, 12)}`;
  }

  get socket(): string {
    return join(this.#runDir, 'docker.sock');
  }

  get isRunning(): boolean {
    return this.#daemon('dockerd').running() !== undefined;
  }

  /** Of the program that would be started. @throws CloudosError RUNTIME_UNAVAILABLE */
  async version(): Promise<string> {
    const said = await runCommand(this.#program(), ['--version']);
    return /version ([^\s,]+)/.exec(said)?.[1] ?? said.trim();
  }

  #program(): string {
    const program = findTool('dockerd');
    if (!program) {
      throw new CloudosError('RUNTIME_UNAVAILABLE', 'there is no dockerd on this host', {
        remedy: 'apt-get install docker.io',
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
    const daemon = this.#daemon(program);
    // Pid files that were left by ones that were killed keep the next from coming up, as long as nobody reaps them.
    if (!daemon.running()) await rm(join(this.#runDir, 'docker.pid'), { force: true });
    if (!this.#containerd()) await rm(this.#containerdPidFile, { force: true });
    await daemon.ensure(() => askEngine(connect(this.socket), timeoutMs), timeoutMs);
  }

  #daemon(program: string): DetachedDaemon {
    const flags = ['--bridge=none', '--iptables=false', '--ip-masq=false', '--userland-proxy=false', '--live-restore'];
    const mark = `--host=unix://${this.socket}`;
    const args = [
      ...flags,
      `--data-root=${join(this.#dataDir, 'engine')}`,
      `--exec-root=${join(this.#runDir, 'exec')}`,
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
    await unmountBelow(join(this.#dataDir, 'engine'));
    await rm(this.#runDir, { recursive: true, force: true });
    await rm(join(this.#dataDir, 'engine'), { recursive: true, force: true });
    await rm(join(this.#dataDir, 'engine.log'), { force: true });
  }

  get #containerdPidFile(): string {
    return join(this.#runDir, 'exec/containerd/containerd.pid');
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

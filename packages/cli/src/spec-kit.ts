import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { type GatewayOptions, startGateway } from '@cloudos/gateway';
import { FakeKernel } from '@cloudos/gateway/testing';
import type { ClusterView, InstanceView, WorkloadView } from '@cloudos/sdk';
import pc from 'picocolors';
import { type CliEnvironment, runCommandLine } from './run.ts';
import type { Terminal } from './terminal.ts';

export interface Ran {
  readonly exitCode: number;
  readonly out: string;
  readonly err: string;
}

/** Keeps what a command writes. */
export class MemoryTerminal implements Terminal {
  unread = false;
  goOnUnread(): void {
    this.unread = true;
  }
  out = '';
  err = '';
  readonly colors = pc.createColors(false);
  readonly noteColors = pc.createColors(false);
  readonly columns = 120;
  readonly interactive = false;
  line = (text = '') => this.write(`${text}\n`);
  note = (text: string) => this.writeError(`${text}\n`);
  write = (chunk: string | Uint8Array) => {
    this.out += Buffer.from(chunk).toString();
  };
  writeError = (chunk: string | Uint8Array) => {
    this.err += Buffer.from(chunk).toString();
  };
}

/** A state directory, where a fake kernel can run behind a real gateway, and the command line over it. */
export class CliBench {
  readonly stateDir: string;
  readonly kernel: FakeKernel;
  #close: () => Promise<void> = async () => {};

  private constructor(stateDir: string) {
    this.stateDir = stateDir;
    this.kernel = new FakeKernel(stateDir);
  }

  static async open(options: { running: boolean; tls?: GatewayOptions['tls'] }): Promise<CliBench> {
    const bench = new CliBench(await mkdtemp(join(tmpdir(), 'cloudos-cli-')));
    if (options.running) {
      const gateway = await startGateway({ kernel: bench.kernel, stateDir: bench.stateDir, tls: options.tls });
      bench.#close = () => gateway.close();
    }
    return bench;
  }

  async run(args: readonly string[], options: { stdin?: string; env?: NodeJS.ProcessEnv } = {}): Promise<Ran> {
    const terminal = new MemoryTerminal();
    const environment: CliEnvironment = {
      terminal,
      env: { CLOUDOS_HOME: this.stateDir, ...options.env },
      cwd: this.stateDir,
      stdin: Readable.from(options.stdin === undefined ? [] : [Buffer.from(options.stdin)]) as NodeJS.ReadStream,
      onInterrupt: () => () => {},
    };
    const exitCode = await runCommandLine(args, environment);
    return { exitCode, out: terminal.out, err: terminal.err };
  }

  async close(): Promise<void> {
    await this.#close();
    await rm(this.stateDir, { recursive: true, force: true });
  }
}

const requests = { cpuMillis: 100, memoryBytes: 64 * 2 ** 20, diskBytes: 0, pids: 0 };

export function workloadView(workload: string, replicas: number, ready = replicas): WorkloadView {
  return {
    spec: {
      workload,
      kind: 'Deployment',
      revision: 1,
      replicas,
      template: {
        image: 'host:',
        env: [],
        ports: [{ port: 8080, protocol: 'tcp' }],
        requests,
        limits: requests,
        restart: 'always',
        stopGraceMs: 1_000,
        readOnlyRoot: false,
        labels: {},
      },
      strategy: { kind: 'recreate' },
      priority: 100,
      constraints: [],
      minReadyMs: 0,
      progressDeadlineMs: 1_000,
      labels: {},
    },
    revisions: [{ revision: 1, position: 0, time: 0 }],
    instances: replicas,
    ready,
    updated: replicas,
    rollout: 'complete',
  };
}

export function instanceView(instance: string, workload: string, more: Partial<InstanceView> = {}): InstanceView {
  return {
    instance,
    workload,
    revision: 1,
    state: 'ready',
    requests,
    priority: 100,
    node: 'n1',
    runtime: 'zones',
    attempt: 1,
    address: { host: '127.0.0.1', ports: { '8080': 40_001 } },
    pid: 4_242,
    requestedAt: 1,
    changedAt: 2,
    requestedTime: Date.now() - 90_000,
    changedTime: Date.now(),
    ...more,
  };
}

export function clusterView(more: Partial<ClusterView> = {}): ClusterView {
  const node = {
    node: 'n1',
    state: 'ready' as const,
    capacity: { cpuMillis: 2_000, memoryBytes: 4 * 2 ** 30, diskBytes: 0, pids: 0 },
    used: requests,
    instances: 1,
    attributes: { os: 'linux', kernel: '6.18' },
    runtimes: [{ name: 'zones', version: '1', features: {} }],
  };
  return { position: -1, time: 0, nodes: [node], workloads: [], instances: [], services: [], ...more };
}

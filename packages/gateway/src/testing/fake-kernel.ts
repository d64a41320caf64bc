import type { CommandOptions, Kernel, SlotCommand } from '@cloudos/kernel';
import {
  type AppendResult,
  CloudosError,
  type ClusterView,
  type CommandResult,
  type DoctorReport,
  type ExecRequest,
  type ExecSession,
  type ExpectedRevision,
  type Explanation,
  type GuestStats,
  type KernelStatus,
  type LogProvider,
  type LogRequest,
  type NewEvent,
  type OutputChunk,
  type PlacementMeasures,
  type PluginView,
  type ShadowRequest,
  type ShadowView,
  type SwapRequest,
  type SwapResult,
} from '@cloudos/sdk';
import { FakeExec } from './fake-exec.ts';
import { FakeLog } from './fake-log.ts';

const emptyView: ClusterView = { position: -1, time: 0, nodes: [], workloads: [], instances: [], services: [] };

/**
 * A kernel in memory, for tests of gateways, clients and commands: it records what it is asked and answers what the
 * test has put there. Its log is a real sequence of events; nothing follows from them.
 */
export class FakeKernel implements Kernel {
  readonly events = new FakeLog();
  readonly log: Kernel['log'];
  readonly commands: { command: SlotCommand; options: CommandOptions | undefined }[] = [];
  readonly swaps: SwapRequest[] = [];
  readonly execs: FakeExec[] = [];
  readonly logRequests: LogRequest[] = [];
  /** Calls of `logs` that have not ended. For leak tests. */
  openLogs = 0;
  stopped = false;
  takenDown = false;
  pluginViews: PluginView[] = [];
  readonly shadowViews: ShadowView[] = [];
  doctorReport: DoctorReport = { nodes: [] };
  /** What `view` answers, by position asked for. */
  onView: (at: number | undefined) => ClusterView = () => emptyView;
  onCommand: (command: SlotCommand) => CommandResult | Promise<CommandResult> = () => ({
    events: [],
    warnings: [],
    correlation: 'none',
  });
  /** Output of each instance; following it goes on until the signal. */
  readonly output = new Map<string, OutputChunk[]>();
  readonly #startedAt = Date.now();

  constructor(stateDir = '/nowhere') {
    const verify: LogProvider['verify'] = async () => ({
      ok: true,
      first: 0,
      events: this.events.events.length,
      streams: 1,
      head: this.events.head(),
      damages: [],
    });
    const { events } = this;
    this.log = {
      read: (range) => events.read(range),
      subscribe: (from, filter, backpressure) => events.subscribe(from, filter, backpressure),
      head: () => events.head(),
      first: () => events.first(),
      verify,
    };
    this.#stateDir = stateDir;
  }

  readonly #stateDir: string;

  status(): KernelStatus {
    return {
      stack: 'fake',
      pid: process.pid,
      version: '0.0.0',
      startedAt: this.#startedAt,
      head: this.events.head(),
      stateDir: this.#stateDir,
    };
  }

  async view(at?: number): Promise<ClusterView> {
    if (at !== undefined && at > this.events.head()) {
      throw new CloudosError('POSITION_OUT_OF_RANGE', `position ${at}: the log ends at ${this.events.head()}`);
    }
    return this.onView(at);
  }

  plugins(): readonly PluginView[] {
    return this.pluginViews;
  }

  policy(slot: 'resources' | 'orchestrator'): { plugin: string; config: unknown } {
    return { plugin: `${slot}-fake`, config: {} };
  }

  async command(command: SlotCommand, options?: CommandOptions): Promise<CommandResult> {
    this.commands.push({ command, options });
    return this.onCommand(command);
  }

  async append(stream: string, events: readonly NewEvent[], _at: ExpectedRevision): Promise<AppendResult> {
    const { first, last } = this.events.record(...events.map((event) => ({ stream, ...event })));
    return { first, last, revision: this.events.revisionOf(stream), duplicate: false };
  }

  async swap(request: SwapRequest): Promise<SwapResult> {
    this.swaps.push(request);
    return { slot: request.slot, from: 'old', to: request.plugin, generation: 2, position: 7, catchUpMs: 3 };
  }

  async shadow({ plugin }: ShadowRequest): Promise<ShadowView> {
    this.shadowViews.push({ ...shadowView, plugin });
    return this.shadowViews.at(-1)!;
  }

  shadows(): readonly ShadowView[] {
    return this.shadowViews;
  }

  async endShadow(plugin: string): Promise<ShadowView> {
    const at = this.shadowViews.findIndex((view) => view.plugin === plugin);
    if (at < 0) throw new CloudosError('SHADOW_NOT_FOUND', `no shadow of ${plugin}`);
    return this.shadowViews.splice(at, 1)[0]!;
  }

  async why(subject: string): Promise<Explanation> {
    if (subject === 'nothing') throw new CloudosError('INSTANCE_NOT_FOUND', 'nothing is called nothing');
    return { subject, summary: `${subject} is fine`, steps: [] };
  }

  async doctor(): Promise<DoctorReport> {
    return this.doctorReport;
  }

  async exec(instance: string, request: ExecRequest): Promise<ExecSession> {
    this.#assertInstance(instance);
    if (request.command[0] === 'missing')
      throw new CloudosError('COMMAND_NOT_FOUND', 'there is no missing in the guest');
    const session = new FakeExec(request);
    this.execs.push(session);
    return session;
  }

  async *logs(instance: string, request: LogRequest): AsyncGenerator<OutputChunk> {
    this.#assertInstance(instance);
    this.logRequests.push(request);
    this.openLogs++;
    try {
      const chunks = this.output.get(instance) ?? [];
      yield* request.tailLines === undefined ? chunks : chunks.slice(-request.tailLines);
      if (request.follow && request.signal && !request.signal.aborted) {
        await new Promise((resolve) => request.signal?.addEventListener('abort', resolve, { once: true }));
      }
    } finally {
      this.openLogs--;
    }
  }

  async stats(instance: string): Promise<GuestStats> {
    this.#assertInstance(instance);
    return { memoryBytes: 1024, pids: 2 };
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.events.close();
  }

  async down(onProgress: (text: string) => void = () => {}): Promise<void> {
    onProgress('removing 2 instances');
    onProgress('removed');
    this.takenDown = true;
    await this.stop();
  }

  #assertInstance(instance: string): void {
    if (this.output.has(instance)) return;
    throw new CloudosError(
      'INSTANCE_NOT_FOUND',
      `no instance ${instance}; there are ${[...this.output.keys()].join(', ')}`,
    );
  }
}

const measures: PlacementMeasures = {
  nodes: 1,
  nodesInUse: 1,
  placed: 1,
  pending: 0,
  placements: 1,
  preemptions: 0,
  utilisation: { cpu: 0.5, memory: 0.5 },
  utilisationMean: { cpu: 0.5, memory: 0.5 },
  utilisationPeak: 0.5,
  fragmentation: 0,
  waitMs: { p50: 1, p99: 2, max: 2 },
  fairness: 1,
};

const shadowView: ShadowView = {
  plugin: 'resources-fake',
  config: {},
  beside: 'resources-real',
  state: 'running',
  from: 3,
  since: 0,
  position: 7,
  real: measures,
  shadow: measures,
  agreement: { sameNode: 1, otherNode: 0, onlyReal: 0, onlyShadow: 0, neither: 0 },
  differences: [],
};

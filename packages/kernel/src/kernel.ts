import type {
  AppendResult,
  ClusterView,
  CommandResult,
  DoctorReport,
  EventLog,
  ExecRequest,
  ExecSession,
  ExpectedRevision,
  Explanation,
  GuestStats,
  KernelStatus,
  LogProvider,
  LogRequest,
  NewEvent,
  OrchestratorCommand,
  OutputChunk,
  PluginView,
  ResourcesCommand,
  SwapRequest,
  SwapResult,
} from '@cloudos/sdk';

/** A command and the slot whose policy decides it. */
export type SlotCommand =
  | { readonly slot: 'orchestrator'; readonly command: OrchestratorCommand }
  | { readonly slot: 'resources'; readonly command: ResourcesCommand };

export interface CommandOptions {
  /** UUIDv7 chosen by the sender: sending a command again with the same id does nothing twice. */
  readonly id?: string;
  readonly traceparent?: string;
}

/**
 * A running stack: what the gateway serves and tests drive.
 * Every method may throw a CloudosError; a refused command throws one with the code of the refusal.
 */
export interface Kernel {
  readonly log: Pick<EventLog, 'read' | 'subscribe' | 'head'> & Pick<LogProvider, 'verify' | 'stored'>;
  status(): KernelStatus;
  /** What the log says at its head, or at a position (POSITION_OUT_OF_RANGE). */
  view(at?: number): Promise<ClusterView>;
  plugins(): readonly PluginView[];
  command(command: SlotCommand, options?: CommandOptions): Promise<CommandResult>;
  /**
   * Appends events of a program that is not part of the stack: private ones (`x-<program>-<Name>`) to a private stream
   * (`x-<program>`). Resolves when they are durable.
   * @throws CloudosError EVENT_INVALID for any other stream or type, REVISION_CONFLICT, and what the log throws
   */
  append(stream: string, events: readonly NewEvent[], at: ExpectedRevision): Promise<AppendResult>;
  swap(request: SwapRequest): Promise<SwapResult>;
  /** Why an instance, a workload or a node is as it is. INSTANCE_NOT_FOUND when nothing has that name. */
  why(subject: string): Promise<Explanation>;
  doctor(): Promise<DoctorReport>;
  exec(instance: string, request: ExecRequest): Promise<ExecSession>;
  logs(instance: string, request: LogRequest): AsyncIterable<OutputChunk>;
  stats(instance: string): Promise<GuestStats>;
  /** Stops the kernel. Guests go on running. */
  stop(): Promise<void>;
  /** Removes every workload and guest and whatever the drivers made on the nodes. Then stops. */
  down(onProgress?: (text: string) => void): Promise<void>;
}

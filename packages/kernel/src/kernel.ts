import type {
  AppendResult,
  DoctorReport,
  EventLog,
  ExpectedRevision,
  KernelAccess,
  LogProvider,
  NewEvent,
  ShadowRequest,
  ShadowView,
  SwapRequest,
  SwapResult,
} from '@cloudos/sdk';

/**
 * A running stack: what the gateway serves and tests drive.
 * Every method may throw a CloudosError; a refused command throws one with the code of the refusal.
 */
export interface Kernel extends KernelAccess {
  readonly log: Pick<EventLog, 'read' | 'subscribe' | 'head' | 'first'> & Pick<LogProvider, 'verify' | 'stored'>;
  /**
   * Appends events of a program that is not part of the stack: private ones (`x-<program>-<Name>`) to a private stream
   * (`x-<program>`). Resolves when they are durable.
   * @throws CloudosError EVENT_INVALID for any other stream or type, REVISION_CONFLICT, and what the log throws
   */
  append(stream: string, events: readonly NewEvent[], at: ExpectedRevision): Promise<AppendResult>;
  swap(request: SwapRequest): Promise<SwapResult>;
  /** Runs a resource manager on the live log without acting. SHADOW_EXISTS, SHADOWS_EXCEEDED, why it cannot begin */
  shadow(request: ShadowRequest): Promise<ShadowView>;
  shadows(): readonly ShadowView[];
  /** Ends it; its last view. SHADOW_NOT_FOUND */
  endShadow(plugin: string): Promise<ShadowView>;
  doctor(): Promise<DoctorReport>;
  /** Stops the kernel. Guests go on running. */
  stop(): Promise<void>;
  /** Removes every workload and guest and whatever the drivers made on the nodes. Then stops. */
  down(onProgress?: (text: string) => void): Promise<void>;
}

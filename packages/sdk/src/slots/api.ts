import type { CommandOptions, SlotCommand } from '../commands.ts';
import type { EventLog } from '../log.ts';
import type { PluginContext } from '../plugin.ts';
import type { ClusterView, CommandResult, Explanation, KernelStatus, PluginView } from '../views.ts';
import type { ExecRequest, ExecSession, GuestStats, LogRequest, OutputChunk } from './guest.ts';

/**
 * A further native API over the same events: what a client of some other system speaks. Made by `create` without
 * listening yet, so that a successor can be made while its predecessor still holds the port.
 */
export interface ApiDriver {
  /**
   * Begins to listen, and says where. Called again after `close`: it listens anew. On loopback unless configured
   * otherwise. Errors: PORT_IN_USE, PERMISSION_DENIED.
   */
  open(): Promise<ApiAddress>;
  /** Listens no more and ends every connection. Nothing that is open is a call for a second one. Idempotent. */
  close(): Promise<void>;
}

export interface ApiAddress {
  /** Where a client points to: `http://127.0.0.1:5050`. */
  readonly url: string;
}

/**
 * The kernel as an `api` plugin sees it: it reads what is, follows what happens, and asks the policies. It appends no
 * event: each stream has one writer, and what an outside client wants becomes a command to a policy. Every method may
 * throw a CloudosError; a refused command throws one with the code of the refusal.
 */
export interface KernelAccess {
  readonly log: Pick<EventLog, 'read' | 'subscribe' | 'head'>;
  status(): KernelStatus;
  /** What the log says at its head, or at a position (POSITION_OUT_OF_RANGE). */
  view(at?: number): Promise<ClusterView>;
  plugins(): readonly PluginView[];
  /** Which policy is in charge of a slot, and the configuration that it was given. */
  policy(slot: 'resources' | 'orchestrator'): { readonly plugin: string; readonly config: unknown };
  /** Resolves when what was decided is in the log and in `view`. SLOT_EMPTY while no policy is in charge. */
  command(command: SlotCommand, options?: CommandOptions): Promise<CommandResult>;
  /** Why an instance, a workload or a node is as it is. INSTANCE_NOT_FOUND when nothing has that name. */
  why(subject: string): Promise<Explanation>;
  exec(instance: string, request: ExecRequest): Promise<ExecSession>;
  logs(instance: string, request: LogRequest): AsyncIterable<OutputChunk>;
  stats(instance: string): Promise<GuestStats>;
}

/** What a plugin of the `api` slot is given to work with. */
export interface ApiContext extends PluginContext {
  readonly kernel: KernelAccess;
}

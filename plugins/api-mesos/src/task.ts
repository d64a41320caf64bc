import { createHash } from 'node:crypto';
import type { TaskManifest } from './task-spec.ts';

/** States of tasks, as Mesos names them (include/mesos/v1/mesos.proto). */
export type TaskState =
  | 'TASK_STAGING'
  | 'TASK_STARTING'
  | 'TASK_RUNNING'
  | 'TASK_KILLING'
  | 'TASK_FINISHED'
  | 'TASK_FAILED'
  | 'TASK_KILLED'
  | 'TASK_ERROR'
  | 'TASK_LOST'
  | 'TASK_DROPPED'
  | 'TASK_UNREACHABLE'
  | 'TASK_GONE'
  | 'TASK_UNKNOWN';

const terminal: ReadonlySet<TaskState> = new Set([
  'TASK_FINISHED',
  'TASK_FAILED',
  'TASK_KILLED',
  'TASK_ERROR',
  'TASK_LOST',
  'TASK_DROPPED',
  'TASK_GONE',
]);

export function isTerminal(state: TaskState): boolean {
  return terminal.has(state);
}

/** What became of a task. */
export interface Update {
  readonly state: TaskState;
  /** Epoch milliseconds. */
  readonly at: number;
  readonly message?: string;
  readonly reason?: string;
  readonly source: 'SOURCE_MASTER' | 'SOURCE_AGENT' | 'SOURCE_EXECUTOR';
  readonly healthy?: boolean;
  readonly address?: string;
}

/** An update that waits for its acknowledgement. */
interface Unacknowledged {
  readonly update: Update;
  readonly uuid: string;
  sentAt: number;
  delayMs: number;
}

/** One task of a framework, as the log tells it, and what its framework has not acknowledged yet. */
export class Task {
  readonly workload: string;
  readonly manifest: TaskManifest;
  latest: Update;
  instance: string | undefined;
  /** It has a place on its agent. */
  placed = false;
  /** Somebody has asked for its end. */
  killing: { readonly reason?: string; readonly message: string } | undefined;
  /** Its workload was removed: nothing is left to be cleaned up. */
  removed = false;
  readonly #waiting: Unacknowledged[] = [];
  #acknowledgedEnd = false;

  constructor(workload: string, manifest: TaskManifest, at: number) {
    this.workload = workload;
    this.manifest = manifest;
    this.latest = { state: 'TASK_STAGING', at, source: 'SOURCE_MASTER' };
  }

  get ended(): boolean {
    return isTerminal(this.latest.state);
  }

  /** Its end was told and acknowledged. */
  get settled(): boolean {
    return this.#acknowledgedEnd;
  }

  /** The update that its framework has to acknowledge next. */
  get head(): Readonly<Unacknowledged> | undefined {
    return this.#waiting[0];
  }

  /** Takes note of what became of it; nothing comes after its end. False where nothing is new. */
  become(update: Update): boolean {
    const { state, healthy } = this.latest;
    if (this.ended || (state === update.state && healthy === update.healthy)) return false;
    this.latest = { ...(this.latest.address !== undefined && { address: this.latest.address }), ...update };
    const uuid = uuidOf(`${this.workload} ${this.latest.state} ${this.latest.healthy ?? ''}`);
    this.#waiting.push({ update: this.latest, uuid, sentAt: Number.NEGATIVE_INFINITY, delayMs: 0 });
    return true;
  }

  /** Whether the head is to be sent (again) now. Notes that it was. */
  due(now: number, retryMs: number, retryMaxMs: number): boolean {
    const head = this.#waiting[0];
    if (!head || now < head.sentAt + head.delayMs) return false;
    head.delayMs = head.delayMs === 0 ? retryMs : Math.min(2 * head.delayMs, retryMaxMs);
    head.sentAt = now;
    return true;
  }

  /** The framework is connected anew: everything that waits is sent at once. */
  again(): void {
    for (const each of this.#waiting) {
      each.sentAt = Number.NEGATIVE_INFINITY;
      each.delayMs = 0;
    }
  }

  /** False where that is not the update that waits. */
  acknowledge(uuid: string): boolean {
    const head = this.#waiting[0];
    if (head?.uuid !== uuid) return false;
    this.#waiting.shift();
    if (isTerminal(head.update.state)) this.#acknowledgedEnd = true;
    return true;
  }
}

/** Sixteen bytes in base64, the same for the same update also after a restart. */
function uuidOf(text: string): string {
  return createHash('sha256').update(text).digest().subarray(0, 16).toString('base64');
}

/** A TaskStatus as it goes over the wire. Without a uuid it asks for no acknowledgement. */
export function statusOf(task: string, agent: string | undefined, update: Update, uuid?: string): object {
  const { state, message, reason, source, healthy, at, address } = update;
  return {
    task_id: { value: task },
    state,
    source,
    timestamp: at / 1_000,
    ...(message !== undefined && { message }),
    ...(reason !== undefined && { reason }),
    ...(agent !== undefined && { agent_id: { value: agent } }),
    ...(healthy !== undefined && { healthy }),
    ...(address !== undefined && {
      container_status: { network_infos: [{ ip_addresses: [{ protocol: 'IPv4', ip_address: address }] }] },
    }),
    ...(uuid !== undefined && { uuid, executor_id: { value: task } }),
  };
}

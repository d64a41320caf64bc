import { event, type NewEvent, type RecordedEvent, type SharedEvent } from '@cloudos/sdk';
import type { PlacementLedger } from './placement-ledger.ts';

/** What an operator has told the manager in charge: facts for whoever else decides. All else of its stream is its own. */
const told: ReadonlySet<string> = new Set([
  'NodeCordoned',
  'NodeUncordoned',
  'QuotaSet',
  'QuotaRemoved',
  'OwnerStateChanged',
  'ReservationRequested',
  'ReservationWithdrawn',
  'MaintenanceScheduled',
  'MaintenanceCancelled',
]);

/**
 * Tells real from hypothetical. Who is wanted, who is gone and which nodes there are is real; where everyone is, is
 * hypothetical. So of the real log the shadow sees everything but the decisions of the manager in charge, and what
 * happens to guests on the nodes where the shadow has them:
 *
 * - A guest that is really removed is removed where the shadow has it.
 * - An instance that is withdrawn before it was really placed is removed from where the shadow has it.
 * - An instance that the shadow preempts is removed after its grace and asked for anew under its name, as an
 *   orchestrator would ask for another one.
 * - Instances that were really on a node that is lost are gone. Those that only the shadow has there are asked for anew.
 */
export class ShadowWorld {
  readonly #real: PlacementLedger;
  readonly #shadow: PlacementLedger;
  /** Requests of live instances, to ask for them anew. */
  readonly #requests = new Map<string, RecordedEvent>();
  /** Instances that the shadow preempts, and when their grace ends. */
  readonly #leaving = new Map<string, number>();

  /** @param real the account of the real log, up to but not including the events that are translated */
  constructor(real: PlacementLedger, shadow: PlacementLedger) {
    this.#real = real;
    this.#shadow = shadow;
  }

  /** When something is due that is not told by the log: the end of a grace, epoch ms. */
  get dueAt(): number | undefined {
    let due = Number.POSITIVE_INFINITY;
    for (const at of this.#leaving.values()) due = Math.min(due, at);
    return Number.isFinite(due) ? due : undefined;
  }

  /** What was before the shadow began: taken in as it was. */
  remember(recorded: RecordedEvent): void {
    const { type, data } = recorded as SharedEvent;
    if (type === 'InstanceRequested') this.#requests.set(data.instance, recorded);
    else if (type === 'GuestRemoved') this.#requests.delete(data.instance);
    else if (type === 'InstanceWithdrawn' && this.#real.instances.get(data.instance)?.node === undefined) {
      this.#requests.delete(data.instance);
    }
  }

  /** What the shadow sees of a real event. Call before the real account takes the event in. */
  translate(recorded: RecordedEvent): NewEvent[] {
    if (recorded.stream === 'resources') return told.has(recorded.type) ? [recorded] : [];
    const shared = recorded as SharedEvent;
    switch (shared.type) {
      case 'InstanceRequested':
        this.#requests.set(shared.data.instance, recorded);
        return [recorded];
      case 'InstanceWithdrawn':
        return this.#withdraw(shared.data.instance, recorded);
      case 'GuestRemoved':
        return this.#remove(shared.data.instance);
      case 'NodeLost':
      case 'NodeLeft':
        return this.#lose(shared.data.node, recorded);
      default:
        return this.#elsewhere(recorded);
    }
  }

  /** The shadow has decided. */
  decided(decision: RecordedEvent): void {
    const { type, data, time } = decision as SharedEvent;
    if (type === 'InstancePreempted') this.#leaving.set(data.instance, time + data.graceMs);
  }

  /** Instances whose grace is over by then. */
  due(now: number): NewEvent[] {
    const events: NewEvent[] = [];
    for (const [instance, at] of [...this.#leaving]) {
      if (at > now) continue;
      this.#leaving.delete(instance);
      events.push(...this.#removal(instance), ...this.#again(instance));
    }
    return events;
  }

  #withdraw(instance: string, recorded: RecordedEvent): NewEvent[] {
    if (this.#real.instances.get(instance)?.node !== undefined) return [recorded];
    const removal = this.#removal(instance);
    this.#requests.delete(instance);
    this.#leaving.delete(instance);
    return [recorded, ...removal];
  }

  #remove(instance: string): NewEvent[] {
    this.#requests.delete(instance);
    this.#leaving.delete(instance);
    const removal = this.#removal(instance);
    if (removal.length > 0 || !this.#shadow.instances.has(instance)) return removal;
    return [event('InstanceWithdrawn', { instance, reason: 'its guest is gone', drainMs: 0, graceMs: 0 })];
  }

  #lose(node: string, recorded: RecordedEvent): NewEvent[] {
    const gone = [...(this.#real.nodes.get(node)?.instances ?? [])];
    const before = gone.flatMap((instance) => this.#remove(instance));
    const stranded = [...(this.#shadow.nodes.get(node)?.instances ?? [])].filter((name) => !gone.includes(name));
    for (const name of stranded) this.#leaving.delete(name);
    return [...before, recorded, ...stranded.flatMap((instance) => this.#again(instance))];
  }

  /** Other events about a guest happen where the shadow has it; where it has no place, they do not. */
  #elsewhere(recorded: RecordedEvent): NewEvent[] {
    const data = recorded.data as { instance?: unknown; node?: unknown } | null;
    if (typeof data?.instance !== 'string' || typeof data.node !== 'string') return [recorded];
    const node = this.#shadow.instances.get(data.instance)?.node;
    return node === undefined ? [] : [{ type: recorded.type, data: { ...data, node } }];
  }

  #removal(instance: string): NewEvent[] {
    const node = this.#shadow.instances.get(instance)?.node;
    return node === undefined ? [] : [event('GuestRemoved', { instance, node })];
  }

  #again(instance: string): NewEvent[] {
    const request = this.#requests.get(instance);
    return request ? [{ type: request.type, data: request.data }] : [];
  }
}

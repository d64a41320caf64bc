import type { SharedEvent } from '@cloudos/sdk';
import type { InstanceRecord } from './instance-record.ts';

/** Events that change nothing that a placement which was tried out depends on. */
const harmless: ReadonlySet<string> = new Set([
  'InstanceUnplaceable',
  'WorkloadDeclared',
  'WorkloadChanged',
  'GuestCreated',
  'GuestStarted',
  'GuestHealthy',
  'GuestUnhealthy',
  'GuestContainerExited',
  'GuestContainerStarted',
  'ServiceEndpointsChanged',
  'RolloutAdvanced',
]);

/**
 * Placements that a round has tried out and decided, but that the log has not told yet. Mostly it tells them next: then
 * what they take need not be given back and taken again. Nothing can be seen of it: whoever asks for anything else
 * first has them taken back.
 */
export class Tentative {
  #records: readonly InstanceRecord[] = [];
  #slots: readonly number[] = [];
  #next = 0;
  readonly #vacate: (record: InstanceRecord, slot: number) => void;

  constructor(vacate: (record: InstanceRecord, slot: number) => void) {
    this.#vacate = vacate;
  }

  /** Whom the log is expected to tell of next, and on which slot; undefined: nobody. */
  get next(): InstanceRecord | undefined {
    return this.#records[this.#next];
  }

  get nextSlot(): number {
    return this.#slots[this.#next] ?? -1;
  }

  /** They hold what they need. */
  keep(records: readonly InstanceRecord[], slots: readonly number[]): void {
    this.takeBack();
    this.#records = records;
    this.#slots = slots;
    this.#next = 0;
  }

  /** Gives back what is held for those that the log has not told. */
  takeBack(): void {
    for (let at = this.#records.length - 1; at >= this.#next; at--) {
      this.#vacate(this.#records[at]!, this.#slots[at]!);
    }
    this.#records = [];
    this.#next = 0;
  }

  /** Takes back what the event might meddle with: everything, unless it is harmless. */
  meet(event: SharedEvent): void {
    if (this.#records.length === 0 || harmless.has(event.type)) return;
    if (event.type === 'InstancePlaced' && event.data.instance === this.#records[this.#next]?.id) return;
    if (event.type === 'InstanceRequested' && event.data.placement === undefined) return;
    this.takeBack();
  }

  /** Whether the instance holds what it needs on that node already, as the next that the log was to tell. */
  confirm(record: InstanceRecord, slot: number): boolean {
    if (this.#records[this.#next] !== record) return false;
    if (this.#slots[this.#next] !== slot) {
      this.takeBack();
      return false;
    }
    this.#next++;
    if (this.#next === this.#records.length) this.takeBack();
    return true;
  }
}

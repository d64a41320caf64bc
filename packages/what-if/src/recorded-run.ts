import { PlacementLedger } from '@cloudos/kernel';
import type { RecordedEvent, SharedEvent } from '@cloudos/sdk';
import { OrchestrationTally } from './orchestration-tally.ts';
import { type Sample, type SimulatedRun, samplesMax } from './simulation.ts';

/** What really happened in a part of the log, by the same measures as a simulated run. */
export class RecordedRun {
  readonly #ledger: PlacementLedger;
  readonly #startMs: number;
  readonly #endMs: number;
  readonly #series: Sample[] = [];
  readonly #tally: OrchestrationTally;
  #nextSample: number;

  /** Feed it the log from its beginning; measured is from one time to another (epoch ms). */
  constructor(startMs: number, endMs: number) {
    this.#startMs = startMs;
    this.#endMs = endMs;
    this.#nextSample = startMs;
    this.#ledger = new PlacementLedger(startMs);
    this.#tally = new OrchestrationTally(startMs);
  }

  take(event: RecordedEvent): void {
    this.#sampleUpTo(event.time);
    this.#ledger.take(event as SharedEvent);
    this.#tally.take(event as SharedEvent);
  }

  result(name: string): SimulatedRun {
    this.#sampleUpTo(this.#endMs + 1);
    this.#ledger.passTo(this.#endMs);
    return {
      name,
      measures: this.#ledger.measures,
      orchestration: this.#tally.measures,
      series: this.#series,
      durationMs: this.#endMs - this.#startMs,
    };
  }

  #sampleUpTo(time: number): void {
    const stepMs = Math.max(1, (this.#endMs - this.#startMs) / samplesMax);
    while (this.#nextSample < time && this.#nextSample <= this.#endMs) {
      const { utilisation, pending, nodesInUse } = this.#ledger.measures;
      this.#series.push({ timeMs: this.#nextSample - this.#startMs, ...utilisation, pending, nodesInUse });
      const steps = Math.max(1, Math.floor((time - this.#nextSample) / stepMs));
      this.#nextSample += steps * stepMs;
    }
  }
}

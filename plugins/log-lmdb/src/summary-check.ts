import { segmentOf, segmentPositions, summarize } from '@cloudos/event-log';
import type { LogDamage, RecordedEvent } from '@cloudos/sdk';
import type { BlockLog } from './block-log.ts';

/**
 * Holds the summaries of segments against the events in them: a read with a filter trusts them. One that cannot be read
 * is no damage, it is made anew.
 */
export class SummaryCheck {
  readonly #log: BlockLog;
  readonly #add: (damage: LogDamage) => void;
  #events: RecordedEvent[] = [];

  constructor(log: BlockLog, add: (damage: LogDamage) => void) {
    this.#log = log;
    this.#add = add;
  }

  /** Takes the events of the log in order. A segment of which some cannot be read is passed over. */
  take(events: readonly RecordedEvent[]): void {
    for (const event of events) {
      const at = event.position % segmentPositions;
      if (at === 0) this.#events = [];
      if (at !== this.#events.length) continue;
      this.#events.push(event);
      if (at === segmentPositions - 1) this.#compare(segmentOf(event.position));
    }
  }

  #compare(segment: number): void {
    const stored = this.#log.summaries.stored(segment);
    if (!stored || stored.equals(summarize(this.#events))) return;
    const position = segment * segmentPositions;
    this.#add({
      position,
      until: position + segmentPositions,
      reason: 'the summary of the types and keys there is not that of its events',
    });
  }
}

import { isForgotten } from '@cloudos/event-log';
import { type CloudosError, type LogDamage, type LogReport, messageOf } from '@cloudos/sdk';
import { readAcknowledged } from './acknowledged.ts';
import type { BlockLog } from './block-log.ts';
import { readJournal } from './journal-scan.ts';
import { blockKey, blocksEnd, parsePostingKey, positionOfKey, postingsBegin, postingsEnd } from './keys.ts';
import { decodePairs } from './postings.ts';
import { SummaryCheck } from './summary-check.ts';

/** Damages that a report names at most. */
const damagesMax = 100;
const rowsPerTurn = 128;

/**
 * Checks every block (checksum, decodes, follows the one before), every revision, every index row, every summary, that the journal has
 * what the database does not, and that the log reaches as far as was acknowledged. Goes on after damage, to name where
 * the log is sound again.
 * @param readsJournal whether the journal has to be read again: a writer has in memory what it wrote there
 */
export async function verifyLog(
  log: BlockLog,
  directory: string,
  readsJournal: boolean,
  onProgress: (positions: number) => void = () => {},
): Promise<LogReport> {
  const check = new LogCheck(log);
  const head = log.head;
  let start: Buffer = blockKey(log.first);
  for (;;) {
    log.assertOpen();
    const range = { start, end: blocksEnd, limit: rowsPerTurn };
    const positions = [...log.rows.getKeys(range)].map(positionOfKey).filter((position) => position <= head);
    for (const position of positions) check.block(position);
    onProgress(check.next);
    const last = positions.at(-1);
    // In the same turn, so that nothing moves into the database in between.
    if (last === undefined) break;
    start = blockKey(last + 1);
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  for (const position of log.pending.firsts()) if (position <= head) check.block(position);
  if (readsJournal) check.journal(directory);
  onProgress(check.next);
  check.end(Math.max(head, readAcknowledged(directory)));
  check.index();
  return check.report(head);
}

class LogCheck {
  readonly #log: BlockLog;
  readonly #damages: LogDamage[] = [];
  readonly #revisions: Map<string, number>;
  readonly #first: number;
  readonly #summaries: SummaryCheck;
  /** Per stream, its first revision in each block; turned negative (-1 - revision) once the index was seen to have it. */
  readonly #postings = new Map<string, Map<number, number>>();
  next: number;
  #events = 0;
  #lost = false;
  #damagedAt: number | undefined;
  #damagedWhy = '';

  constructor(log: BlockLog) {
    this.#log = log;
    this.#revisions = new Map(log.base.revisions);
    this.#first = log.first;
    this.#summaries = new SummaryCheck(log, (damage) => this.#add(damage));
    this.next = log.first;
  }

  block(position: number): void {
    if (position > this.next) this.#gap(position, 'events are missing');
    try {
      const events = this.#log.blockEvents(position);
      for (const event of events) {
        const before = this.#revisions.get(event.stream) ?? -1;
        if (event.revision !== before + 1 && !this.#lost) {
          this.#add({
            position: event.position,
            reason: `revision ${event.revision} of ${event.stream}, expected ${before + 1}`,
          });
        }
        if (isForgotten(this.#log.ids, event.id)) this.#note(event.stream, position, event.revision);
        else this.#add({ position: event.position, reason: `id ${event.id} is beyond the summary of ids` });
        this.#revisions.set(event.stream, event.revision);
      }
      if (position < this.next) this.#add({ position, reason: `overlaps the block before it, up to ${this.next - 1}` });
      this.next = Math.max(this.next, position + events.length);
      this.#events += events.length;
      this.#summaries.take(events);
    } catch (error) {
      this.#damagedAt = position;
      this.#damagedWhy = messageOf(error);
      this.#lost = true;
    }
  }

  /** What is not in the database is in the journal, as it was written. */
  journal(directory: string): void {
    const { head, storedTo } = this.#log;
    try {
      const last = readJournal(directory, storedTo).records.at(-1)?.last ?? storedTo;
      if (last < head) this.#add({ position: last + 1, reason: `the journal ends before position ${head}` });
    } catch (error) {
      const { position } = (error as CloudosError).details;
      this.#add({ position: typeof position === 'number' ? position : storedTo + 1, reason: messageOf(error) });
    }
  }

  /** The log should reach up to that position. */
  end(position: number): void {
    if (this.next <= position || this.#damagedAt !== undefined) this.#gap(position + 1, 'events are missing');
  }

  index(): void {
    const { rows, postings } = this.#log;
    for (const { key, value } of rows.getRange({ start: postingsBegin, end: postingsEnd })) {
      const { stream, revision } = parsePostingKey(key);
      const pairs = decodePairs(value);
      if (!pairs) this.#add({ position: 0, reason: `index row of ${stream} from revision ${revision} is damaged` });
      else this.#comparePairs(stream, pairs);
    }
    for (const { stream, pairs } of postings.inMemory()) this.#comparePairs(stream, pairs);
    if (this.#lost) return;
    for (const [stream, blocks] of this.#postings) {
      for (const [block, revision] of blocks) {
        if (revision >= 0) this.#add({ position: block, reason: `the index of ${stream} does not name the block` });
      }
    }
  }

  report(head: number): LogReport {
    const damages = this.#damages.sort((a, b) => a.position - b.position).slice(0, damagesMax);
    const { size } = this.#revisions;
    return { ok: damages.length === 0, events: this.#events, first: this.#first, streams: size, head, damages };
  }

  #gap(until: number, reason: string): void {
    const position = this.#damagedAt === undefined ? this.next : Math.min(this.next, this.#damagedAt);
    this.#add({ position, until, reason: this.#damagedAt === undefined ? reason : this.#damagedWhy });
    this.#damagedAt = undefined;
    this.#lost = true;
    this.next = until;
  }

  /** Remembers the first revision of a stream in a block. */
  #note(stream: string, block: number, revision: number): void {
    const blocks = this.#postings.get(stream) ?? new Map<number, number>();
    this.#postings.set(stream, blocks);
    if (!blocks.has(block)) blocks.set(block, revision);
  }

  #comparePairs(stream: string, pairs: readonly number[]): void {
    const blocks = this.#postings.get(stream);
    for (let at = 0; at < pairs.length; at += 2) {
      const [block, revision] = [pairs[at]!, pairs[at + 1]!];
      if (block < this.#first) continue;
      // A block that is named twice was indexed twice, after a crash.
      if (blocks?.get(block) === revision) blocks.set(block, -1 - revision);
      else if (blocks?.get(block) !== -1 - revision && !this.#lost && block < this.next) {
        this.#add({ position: block, reason: `the index of ${stream} has revision ${revision} there` });
      }
    }
  }

  #add(damage: LogDamage): void {
    if (this.#damages.length < damagesMax) this.#damages.push(damage);
  }
}

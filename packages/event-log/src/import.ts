import { type AppendResult, CloudosError, type EventLog, hasCode, type RecordedEvent } from '@cloudos/sdk';
import { parseEventLine } from './import-line.ts';

/** The most events in one append of an import, and the most appends of an import in flight. */
export const importAppendMax = 1024;
export const importInFlightMax = 64;

export interface ImportResult {
  /** Events that were appended. */
  readonly imported: number;
  /** Events that the log held already, at the same positions with the same ids, or that were trimmed from it since. */
  readonly skipped: number;
  /** Position of the last event of the log. */
  readonly head: number;
}

/**
 * Appends exported events to a log that is empty or holds a beginning of the same events. Repeating an import, or going
 * on with one that was interrupted, does nothing twice. The log must have no other writer meanwhile.
 * Every line is checked: that it is an event, that positions follow one another, that revisions follow one another in
 * each stream, and that what the log holds already is the same (what was trimmed from it cannot be compared).
 * The export of a trimmed log goes into a log that holds what came before it: import the earlier export first.
 * @param lines text in pieces of any length; every line but the last ends in a line feed
 * @throws CloudosError LOG_IMPORT_INVALID naming the line; the lines before it are imported. Errors of `append`.
 */
export async function importLog(
  log: Pick<EventLog, 'append' | 'read' | 'head' | 'first' | 'revision'>,
  lines: AsyncIterable<string> | Iterable<string>,
): Promise<ImportResult> {
  const importer = new Importer(log);
  try {
    for await (const { text, number } of splitLines(lines)) await importer.take(parseEventLine(text, number), number);
  } catch (error) {
    if (hasCode(error, 'LOG_IMPORT_INVALID')) await importer.finish();
    throw error;
  }
  return importer.finish();
}

class Importer {
  readonly #log: Pick<EventLog, 'append' | 'read' | 'head' | 'first' | 'revision'>;
  readonly #heldUpTo: number;
  readonly #held: HeldEvents;
  #next: number | undefined;
  readonly #revisions = new Map<string, number>();
  #group: RecordedEvent[] = [];
  #groupLine = 0;
  readonly #inFlight: Promise<void>[] = [];
  #imported = 0;
  #skipped = 0;

  constructor(log: Pick<EventLog, 'append' | 'read' | 'head' | 'first' | 'revision'>) {
    this.#log = log;
    this.#heldUpTo = log.head();
    this.#held = new HeldEvents(log);
  }

  async take(event: RecordedEvent, line: number): Promise<void> {
    if (this.#next === undefined && event.position > this.#heldUpTo + 1) {
      throw invalid(line, `position ${event.position}, expected at most ${this.#heldUpTo + 1}: the log ends before it`);
    }
    if (this.#next !== undefined && event.position !== this.#next) {
      throw invalid(line, `position ${event.position}, expected ${this.#next}`);
    }
    this.#next = event.position + 1;
    if (event.position <= this.#heldUpTo) {
      await this.#compare(event, line);
      return;
    }
    const before = this.#revisions.get(event.stream) ?? (await this.#log.revision(event.stream));
    if (event.revision !== before + 1) {
      throw invalid(line, `revision ${event.revision} of ${event.stream}, expected ${before + 1}`);
    }
    this.#revisions.set(event.stream, event.revision);
    if (this.#group.length >= importAppendMax || (this.#group[0] && this.#group[0].stream !== event.stream)) {
      await this.#appendGroup();
    }
    if (this.#group.length === 0) this.#groupLine = line;
    this.#group.push(event);
  }

  async finish(): Promise<ImportResult> {
    await this.#appendGroup();
    await Promise.all(this.#inFlight.splice(0));
    return { imported: this.#imported, skipped: this.#skipped, head: this.#log.head() };
  }

  async #compare(event: RecordedEvent, line: number): Promise<void> {
    if (event.position < this.#log.first()) {
      this.#skipped++;
      return;
    }
    const held = await this.#held.at(event.position);
    if (held?.id !== event.id || held.stream !== event.stream || held.revision !== event.revision) {
      throw invalid(
        line,
        `position ${event.position} is event ${event.id} of ${event.stream}, the log holds ${held?.id} of ${held?.stream} there`,
      );
    }
    this.#skipped++;
  }

  async #appendGroup(): Promise<void> {
    const group = this.#group;
    const [first] = group;
    if (!first) return;
    this.#group = [];
    if (this.#inFlight.length >= importInFlightMax) await Promise.all(this.#inFlight.splice(0));
    const at = first.revision === 0 ? 'none' : first.revision - 1;
    const line = this.#groupLine;
    const appended = this.#log.append(first.stream, group, at).then((result) => this.#confirm(first, result, line));
    appended.catch(() => {});
    this.#inFlight.push(appended);
  }

  #confirm(first: RecordedEvent, result: AppendResult, line: number): void {
    if (result.duplicate || result.first !== first.position) {
      throw invalid(line, `event ${first.id} was meant for position ${first.position} and came to ${result.first}`);
    }
    this.#imported += result.last - result.first + 1;
  }
}

/** Events that the log holds already, read a batch at a time as the import goes over them. */
class HeldEvents {
  readonly #log: Pick<EventLog, 'read'>;
  #batch: readonly RecordedEvent[] = [];
  #batches: AsyncIterator<readonly RecordedEvent[]> | undefined;

  constructor(log: Pick<EventLog, 'read'>) {
    this.#log = log;
  }

  async at(position: number): Promise<RecordedEvent | undefined> {
    this.#batches ??= this.#log.read({ from: position })[Symbol.asyncIterator]();
    while (this.#batch.length === 0 || position > this.#batch[this.#batch.length - 1]!.position) {
      const next = await this.#batches.next();
      if (next.done) return undefined;
      this.#batch = next.value;
    }
    return this.#batch[position - this.#batch[0]!.position];
  }
}

function invalid(line: number, what: string): CloudosError {
  return new CloudosError('LOG_IMPORT_INVALID', `line ${line}: ${what}`, { details: { line } });
}

/** The longest line of an import, in characters. */
export const importLineMax = 16 * 1024 * 1024;

async function* splitLines(
  pieces: AsyncIterable<string> | Iterable<string>,
): AsyncGenerator<{ text: string; number: number }> {
  let rest = '';
  let number = 0;
  for await (const piece of pieces) {
    const lines = (rest + piece).split('\n');
    rest = lines.pop()!;
    for (const text of lines) {
      number++;
      if (text.trim() !== '') yield { text, number };
    }
    if (rest.length > importLineMax) throw invalid(number + 1, `longer than ${importLineMax} characters`);
  }
  if (rest.trim() !== '') yield { text: rest, number: number + 1 };
}

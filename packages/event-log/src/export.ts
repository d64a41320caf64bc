import type { EventLog, GlobalRange } from '@cloudos/sdk';

/**
 * The events of a range as JSON lines, one event a line with all of its fields, in batches of whole lines that end in
 * a line feed. Only an export without filter, from position 0 or from where the other log ends, can be imported.
 */
export async function* exportLog(log: Pick<EventLog, 'read'>, range: GlobalRange = {}): AsyncGenerator<string> {
  for await (const batch of log.read(range)) {
    let lines = '';
    for (const event of batch) lines += `${JSON.stringify(event)}\n`;
    yield lines;
  }
}

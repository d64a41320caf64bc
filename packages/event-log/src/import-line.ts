import { CloudosError, messageOf, type RecordedEvent } from '@cloudos/sdk';

/**
 * An event as a line of an export has it.
 * @throws CloudosError LOG_IMPORT_INVALID naming the line and the field
 */
export function parseEventLine(text: string, line: number): RecordedEvent {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw new CloudosError('LOG_IMPORT_INVALID', `line ${line}: not JSON: ${messageOf(error)}`, { details: { line } });
  }
  const wrong = whatIsWrong(parsed);
  if (wrong) throw new CloudosError('LOG_IMPORT_INVALID', `line ${line}: ${wrong}`, { details: { line } });
  return parsed as RecordedEvent;
}

type Check = readonly [field: string, expected: string, holds: (value: unknown) => boolean];

const isCount = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;
const isText = (value: unknown) => typeof value === 'string' && value !== '';

const checks: readonly Check[] = [
  ['position', 'an integer from 0', isCount],
  ['stream', 'a name', isText],
  ['revision', 'an integer from 0', isCount],
  ['id', 'an id', isText],
  ['type', 'a name', isText],
  ['time', 'epoch milliseconds', (value) => typeof value === 'number'],
  ['data', 'the data of the event', (value) => value !== undefined],
  ['meta', 'an object with a producer and a schema version', isMeta],
];

function whatIsWrong(parsed: unknown): string | undefined {
  if (parsed === null || typeof parsed !== 'object' || Array.isArray(parsed)) return 'expected an object';
  for (const [field, expected, holds] of checks) {
    const value = (parsed as Record<string, unknown>)[field];
    if (!holds(value)) return `${field} is ${JSON.stringify(value)?.slice(0, 80) ?? 'missing'}, expected ${expected}`;
  }
  return undefined;
}

function isMeta(value: unknown): boolean {
  if (value === null || typeof value !== 'object') return false;
  const { producer, schema } = value as { producer?: { plugin?: unknown; generation?: unknown }; schema?: unknown };
  return isCount(schema) && typeof producer?.plugin === 'string' && isCount(producer.generation);
}

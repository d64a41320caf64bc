/**
 * One record: its length in bytes, a line feed, the JSON (https://mesos.apache.org/documentation/latest/recordio/).
 * The text is plain ASCII, others escaped: clients that count characters instead of bytes get the same number.
 */
export function recordOf(event: unknown): string {
  const text = JSON.stringify(event).replaceAll(
    /[\u0080-\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  return `${text.length}\n${text}`;
}

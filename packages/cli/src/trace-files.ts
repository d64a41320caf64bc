import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { createGunzip } from 'node:zlib';
import { CloudosError } from '@cloudos/sdk';
import { readTrace, recordsMax, type TraceRecord } from '@cloudos/what-if';

/** The lines of a file, unpacked where its name ends in `.gz`. @throws CloudosError USAGE when it is not there */
export async function* linesOf(path: string): AsyncGenerator<string> {
  const found = await stat(path).catch(() => undefined);
  if (!found?.isFile()) throw new CloudosError('USAGE', `${path} is not a file`);
  const bytes = createReadStream(path);
  const input = path.endsWith('.gz') ? bytes.pipe(createGunzip()) : bytes;
  yield* createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY });
}

/** A trace as a whole. @throws CloudosError TRACE_MALFORMED */
export async function traceOf(path: string): Promise<TraceRecord[]> {
  const records: TraceRecord[] = [];
  for await (const record of readTrace(linesOf(path), path)) {
    if (records.length === recordsMax) throw new CloudosError('USAGE', `${path} has more than ${recordsMax} records`);
    records.push(record);
  }
  return records;
}

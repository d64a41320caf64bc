import type { Readable } from 'node:stream';
import { CloudosError, errorCode, messageOf } from '@cloudos/sdk';
import { extract, type Header } from 'tar-stream';

/** One entry of an archive. Its content must be read, or skipped, before the next entry comes. */
export interface TarEntry {
  readonly header: Header;
  content(): AsyncIterable<Uint8Array>;
  skip(): Promise<void>;
}

/**
 * The entries of a tar archive (ustar, pax and GNU, as tar-stream reads them). Errors of the source are passed on.
 * @throws CloudosError IMAGE_INVALID when it is no archive, or cut off
 */
export async function* tarEntries(source: Readable): AsyncGenerator<TarEntry> {
  const entries = extract();
  const failure: { error?: unknown } = {};
  void feed(source, entries, failure);
  try {
    for await (const entry of entries) {
      const content = () => contentOf(entry as AsyncIterable<Uint8Array>, failure);
      const skip = async () => {
        for await (const _chunk of content());
      };
      yield { header: entry.header, content, skip };
    }
  } catch (error) {
    throw named(failure.error ?? error);
  } finally {
    source.destroy();
  }
}

async function* contentOf(entry: AsyncIterable<Uint8Array>, failure: { error?: unknown }): AsyncGenerator<Uint8Array> {
  try {
    yield* entry;
  } catch (error) {
    throw named(failure.error ?? error);
  }
}

/** What the source says stays as it is; what is left is about the archive. */
function named(error: unknown): unknown {
  if (errorCode(error) !== undefined || 'syscall' in (error as object)) return error;
  const message = `this is no tar archive, or it is cut off or damaged: ${messageOf(error)}`;
  return new CloudosError('IMAGE_INVALID', message, { cause: error });
}

async function feed(
  source: Readable,
  entries: ReturnType<typeof extract>,
  failure: { error?: unknown },
): Promise<void> {
  try {
    for await (const chunk of source) {
      if (entries.destroyed) return;
      if (entries.write(chunk)) continue;
      await drained(entries);
    }
    entries.end(undefined);
  } catch (error) {
    failure.error = error;
    entries.destroy(error as Error);
  }
}

function drained(entries: ReturnType<typeof extract>): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      entries.off('drain', done);
      entries.off('close', done);
      resolve();
    };
    entries.on('drain', done);
    entries.on('close', done);
  });
}

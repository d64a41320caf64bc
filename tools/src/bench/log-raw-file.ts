import { closeSync, fdatasync, fsyncSync, openSync, write, writeSync } from 'node:fs';
import type { NewEvent } from '@cloudos/sdk';

/**
 * The bound of a durable append: events as JSON lines in a preallocated file, one write and one fdatasync at a time,
 * what comes meanwhile gathers for the next. No index, no revisions, no ids, no checksum, no reader.
 */
export class RawFile {
  readonly #fd: number;
  readonly #bytes: number;
  #buffers = [Buffer.allocUnsafeSlow(4 << 20), Buffer.allocUnsafeSlow(4 << 20)];
  #waiting: (() => void)[] = [];
  #filled = 0;
  #at = 0;
  #busy = false;

  constructor(path: string, bytes: number) {
    this.#bytes = bytes;
    this.#fd = openSync(path, 'w');
    const zeros = Buffer.alloc(1 << 20);
    for (let at = 0; at < bytes; at += zeros.length) writeSync(this.#fd, zeros, 0, zeros.length, at);
    fsyncSync(this.#fd);
  }

  append(stream: string, event: NewEvent): Promise<void> {
    return new Promise((resolve) => {
      const line = `${JSON.stringify({ stream, ...event })}\n`;
      this.#filled += this.#buffers[0]!.write(line, this.#filled);
      this.#waiting.push(resolve);
      if (!this.#busy) {
        this.#busy = true;
        process.nextTick(() => this.#flush([]));
      }
    });
  }

  close(): void {
    closeSync(this.#fd);
  }

  #flush(done: (() => void)[]): void {
    const waiting = this.#waiting;
    if (waiting.length === 0) this.#busy = false;
    else {
      const buffer = this.#buffers[0]!;
      const bytes = this.#filled;
      this.#buffers.reverse();
      this.#waiting = [];
      this.#filled = 0;
      if (this.#at + bytes > this.#bytes) this.#at = 0;
      write(this.#fd, buffer, 0, bytes, this.#at, (failure) => {
        if (failure) throw failure;
        fdatasync(this.#fd, (error) => {
          if (error) throw error;
          this.#flush(waiting);
        });
      });
      this.#at += bytes;
    }
    for (const resolve of done) resolve();
  }
}

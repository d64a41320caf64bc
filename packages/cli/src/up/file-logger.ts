import { closeSync, openSync, renameSync, statSync, writeSync } from 'node:fs';
import type { Logger, LogLevel } from '@cloudos/sdk';

/** At this size the file becomes `<file>.1`, in place of an older one. */
export const logFileMaxBytes = 10 * 1024 * 1024;

const ranks: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 };

/** Diagnostic lines as JSON in a file of bounded size: at most two files of {@link logFileMaxBytes}. */
export class FileLogger implements Logger {
  readonly #file: string;
  readonly #lowest: number;
  #descriptor: number;
  #size: number;

  constructor(file: string, level: LogLevel = 'info') {
    this.#file = file;
    this.#lowest = ranks[level];
    this.#descriptor = openSync(file, 'a', 0o600);
    this.#size = statSync(file).size;
  }

  debug(message: string, values?: Readonly<Record<string, unknown>>): void {
    this.#write('debug', message, values);
  }

  info(message: string, values?: Readonly<Record<string, unknown>>): void {
    this.#write('info', message, values);
  }

  warn(message: string, values?: Readonly<Record<string, unknown>>): void {
    this.#write('warn', message, values);
  }

  error(message: string, values?: Readonly<Record<string, unknown>>): void {
    this.#write('error', message, values);
  }

  close(): void {
    closeSync(this.#descriptor);
    this.#descriptor = -1;
  }

  #write(level: LogLevel, message: string, values: Readonly<Record<string, unknown>> | undefined): void {
    if (ranks[level] < this.#lowest || this.#descriptor < 0) return;
    try {
      const line = `${JSON.stringify({ time: new Date().toISOString(), level, message, ...values })}\n`;
      if (this.#size > 0 && this.#size + line.length > logFileMaxBytes) this.#rotate();
      this.#size += writeSync(this.#descriptor, line);
    } catch {
      // A full disk must not take the kernel down: diagnostics are not the record of what happened.
    }
  }

  #rotate(): void {
    closeSync(this.#descriptor);
    renameSync(this.#file, `${this.#file}.1`);
    this.#descriptor = openSync(this.#file, 'a', 0o600);
    this.#size = 0;
  }
}

export function logLevelOf(text: string | undefined): LogLevel {
  return text !== undefined && Object.hasOwn(ranks, text) ? (text as LogLevel) : 'info';
}

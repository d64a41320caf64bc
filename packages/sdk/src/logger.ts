export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** Diagnostic lines for operators. Never the record of what happened (that is the event log), never a secret. */
export interface Logger {
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void;
  info(message: string, fields?: Readonly<Record<string, unknown>>): void;
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void;
  error(message: string, fields?: Readonly<Record<string, unknown>>): void;
}

const silent = () => {};
export const silentLogger: Logger = { debug: silent, info: silent, warn: silent, error: silent };

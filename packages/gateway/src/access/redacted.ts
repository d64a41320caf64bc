import type { Logger, LogLevel } from '@cloudos/sdk';

/** A token, or the beginning of one that is long enough to matter. */
const tokenText = /cloudos_[A-Za-z0-9_-]{8,}/g;

/** A text without the tokens in it: for whatever is said to people, to clients and in logs. */
export function redacted(text: string): string {
  return text.includes('cloudos_') ? text.replaceAll(tokenText, 'cloudos_[redacted]') : text;
}

/** The same for plain data of any depth. */
export function redactedData<T>(data: T): T {
  const text = JSON.stringify(data);
  return text?.includes('cloudos_') ? (JSON.parse(redacted(text)) as T) : data;
}

/** A logger whose lines hold no tokens, wherever they came from. */
export function withoutTokens(logger: Logger): Logger {
  const line = (level: LogLevel) => (message: string, fields?: Readonly<Record<string, unknown>>) =>
    logger[level](redacted(message), redactedData(fields));
  return { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') };
}

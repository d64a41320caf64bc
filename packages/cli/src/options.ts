import { CloudosError } from '@cloudos/sdk';
import { InvalidArgumentError, Option } from 'commander';

export function wholeNumber(min: number, max = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(
      `expected a whole number from ${min}${max < Number.MAX_SAFE_INTEGER ? ` to ${max}` : ''}.`,
    );
  };
}

/** `90`, `90s`, `5m`, `500ms`, `1h`, `30d` in milliseconds. */
export function durationMs(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(text);
  if (!match) throw new InvalidArgumentError('expected a time such as 90s, 5m or 500ms.');
  const units = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
  return Number(match[1]) * units[(match[2] as keyof typeof units) ?? 's'];
}

/** A point in time, or how long it is ago: `5m`, `2026-01-31T12:00Z` (local time without a zone). Epoch milliseconds. */
export function sinceMs(text: string, now: number): number {
  if (/^\d+(\.\d+)?(ms|s|m|h|d)?$/.test(text)) return Math.max(0, Math.floor(now - durationMs(text)));
  const time = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN;
  if (time >= 0) return time;
  throw new InvalidArgumentError('expected how long ago, such as 90s or 5m, or a time such as 2026-01-31T12:00Z.');
}

/** A position, or a point in time as epoch milliseconds: whole numbers and ISO 8601. */
export function positionOrTime(text: string): { readonly position: number } | { readonly time: number } {
  if (/^\d+$/.test(text) && Number.isSafeInteger(Number(text))) return { position: Number(text) };
  const time = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(time)) throw new InvalidArgumentError('expected a position or a time such as 2026-01-31T12:00Z.');
  return { time };
}

export function list(text: string, before: readonly string[] = []): string[] {
  return [...before, ...text.split(',').filter((item) => item !== '')];
}

export type OutputForm = 'table' | 'wide' | 'json' | 'yaml' | 'name';

export function outputOption(...forms: OutputForm[]): Option {
  return new Option('-o, --output <form>', 'how to print the result').choices(forms).default('table');
}

export function timeoutOption(defaultText: string): Option {
  return new Option('--timeout <time>', 'how long to wait')
    .argParser(durationMs)
    .default(durationMs(defaultText), defaultText);
}

/** Several `key=value` (dots make levels, values are JSON where they can be), or one JSON object. */
export function configOf(given: readonly string[]): unknown {
  if (given.length === 0) return undefined;
  if (given.length === 1 && given[0]?.trimStart().startsWith('{')) return jsonOf(given[0], '--config');
  const config: Record<string, unknown> = Object.create(null);
  for (const pair of given) {
    const at = pair.indexOf('=');
    if (at <= 0) {
      throw new CloudosError('USAGE', `--config ${pair}: expected key=value or a JSON object`, {
        remedy: 'Write --config seed=7, or --config \'{"seed": 7}\'.',
      });
    }
    setAt(config, pair.slice(0, at).split('.'), jsonOrText(pair.slice(at + 1)));
  }
  return config;
}

function setAt(config: Record<string, unknown>, path: readonly string[], value: unknown): void {
  let level = config;
  for (const key of path.slice(0, -1)) {
    const next = Object.hasOwn(level, key) ? level[key] : undefined;
    if (typeof next === 'object' && next !== null) level = next as Record<string, unknown>;
    else {
      const made: Record<string, unknown> = Object.create(null);
      level[key] = made;
      level = made;
    }
  }
  level[path.at(-1) ?? ''] = value;
}

function jsonOrText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function jsonOf(text: string, option: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new CloudosError('USAGE', `${option} is not JSON: ${(error as Error).message}`);
  }
}

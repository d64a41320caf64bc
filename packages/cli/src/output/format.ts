import type { GuestAddress, ResourceVector } from '@cloudos/sdk';

/** `12s`, `5m`, `3h`, `2d`: how long ago, or how long. */
export function age(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7_200) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3_600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}

/** `512 B`, `1.5 GiB`. */
export function bytes(amount: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = amount;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value >= 100 || Number.isInteger(value) ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** Thousandths of a core as cores: `0.25`, `2`. */
export function cores(cpuMillis: number): string {
  return String(Number((cpuMillis / 1000).toFixed(3)));
}

/** `0.3/2`, used of capacity. */
export function cpuOf(used: ResourceVector, capacity: ResourceVector): string {
  return `${cores(used.cpuMillis)}/${cores(capacity.cpuMillis)}`;
}

export function memoryOf(used: ResourceVector, capacity: ResourceVector): string {
  return `${bytes(used.memoryBytes)}/${bytes(capacity.memoryBytes)}`;
}

/** Host, and the ports that differ from those of the template: `127.0.0.1 (8080→40001)`. */
export function address(of: GuestAddress | undefined): string {
  if (!of) return '-';
  const mapped = Object.entries(of.ports ?? {}).filter(([inside, outside]) => String(outside) !== inside);
  if (mapped.length === 0) return of.host;
  return `${of.host} (${mapped.map(([inside, outside]) => `${inside}→${outside}`).join(', ')})`;
}

/** Local time of day with milliseconds; the date too when it is not today. */
export function clockTime(time: number, now: number): string {
  const date = new Date(time);
  const two = (value: number) => String(value).padStart(2, '0');
  const ms = String(date.getMilliseconds()).padStart(3, '0');
  const clock = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${ms}`;
  if (new Date(now).toDateString() === date.toDateString()) return clock;
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${clock}`;
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

/** Cut to so many characters, with an ellipsis. */
export function cut(text: string, charactersMax: number): string {
  return text.length <= charactersMax ? text : `${text.slice(0, Math.max(0, charactersMax - 1))}…`;
}

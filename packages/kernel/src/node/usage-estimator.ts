import type { GuestStats, ResourceVector } from '@cloudos/sdk';

/** After that long a peak counts half. */
export const usageHalfLifeMs = 600_000;
/** How long a guest is watched before anything is said of it. */
export const usageWarmUpMs = 60_000;
/** Least time between two estimates of one guest that are recorded. */
export const usageRecordIntervalMs = 60_000;
/** Share by which an estimate must have changed to be recorded. */
export const usageChangeMin = 0.25;

/** When something is said of a guest. */
export interface UsageTimes {
  /** How long it is watched before. */
  readonly usageWarmUpMs: number;
  /** Least time between two estimates that are recorded. */
  readonly usageRecordIntervalMs: number;
}

/** What one guest is expected to need at most: the peak of what it was seen to use, which fades. */
export class UsageEstimator {
  readonly #since: number;
  #at: number;
  #cpuNanos: number | undefined;
  #cpuMillis = 0;
  #memoryBytes = 0;
  #recordedAt: number | undefined;
  #recorded = { cpuMillis: 0, memoryBytes: 0 };
  readonly #times: UsageTimes;

  /** @param now milliseconds, as everywhere here */
  constructor(now: number, times: UsageTimes = { usageWarmUpMs, usageRecordIntervalMs }) {
    this.#times = times;
    this.#since = now;
    this.#at = now;
  }

  /** Takes in a sample. The estimate where it is worth recording: it has changed by much, and not just now. */
  sample(stats: GuestStats, now: number): Pick<ResourceVector, 'cpuMillis' | 'memoryBytes'> | undefined {
    const elapsedMs = Math.max(1, now - this.#at);
    const fading = 0.5 ** (elapsedMs / usageHalfLifeMs);
    if (stats.cpuNanos !== undefined) {
      const used = this.#cpuNanos === undefined ? 0 : Math.max(0, stats.cpuNanos - this.#cpuNanos);
      this.#cpuMillis = Math.max(used / 1_000 / elapsedMs, this.#cpuMillis * fading);
      this.#cpuNanos = stats.cpuNanos;
    }
    this.#memoryBytes = Math.max(stats.memoryBytes ?? 0, this.#memoryBytes * fading);
    this.#at = now;
    if (now - this.#since < this.#times.usageWarmUpMs) return undefined;
    if (this.#recordedAt !== undefined && now - this.#recordedAt < this.#times.usageRecordIntervalMs) return undefined;
    const estimate = { cpuMillis: Math.ceil(this.#cpuMillis), memoryBytes: Math.ceil(this.#memoryBytes) };
    if (this.#recordedAt !== undefined && !changed(this.#recorded, estimate)) return undefined;
    this.#recordedAt = now;
    this.#recorded = estimate;
    return estimate;
  }
}

function changed(
  before: { readonly cpuMillis: number; readonly memoryBytes: number },
  after: { readonly cpuMillis: number; readonly memoryBytes: number },
): boolean {
  const differs = (one: number, other: number) => Math.abs(one - other) > usageChangeMin * Math.max(one, other);
  return differs(before.cpuMillis, after.cpuMillis) || differs(before.memoryBytes, after.memoryBytes);
}

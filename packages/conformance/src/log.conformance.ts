import type { PluginDefinition } from '@cloudos/sdk';
import { describe, expect, it } from 'vitest';
import { logAppends } from './log/log-appends.ts';
import { logFilters } from './log/log-filters.ts';
import { type LogConformanceOptions, LogHarness } from './log/log-harness.ts';
import { logIdempotency } from './log/log-idempotency.ts';
import { logLifecycle } from './log/log-lifecycle.ts';
import { logReads } from './log/log-reads.ts';
import { logSubscriptions } from './log/log-subscriptions.ts';
import { logTrim } from './log/log-trim.ts';

export type { LogConformanceOptions } from './log/log-harness.ts';

/** Proves that a plugin keeps every promise of the `log` slot. Call it in a vitest spec file. */
export function logConformance<Config>(
  plugin: PluginDefinition<'log', Config>,
  options: LogConformanceOptions<Config>,
): void {
  describe(`log conformance: ${plugin.name}`, () => {
    it('declares the slot and whether it is durable', () => {
      expect(plugin.slot).toBe('log');
      expect(plugin.supports?.durable).toBe(options.durable);
    });
    const harness = new LogHarness(plugin, options);
    logAppends(harness);
    logIdempotency(harness);
    logReads(harness);
    logFilters(harness);
    logSubscriptions(harness);
    logTrim(harness);
    logLifecycle(harness);
  });
}

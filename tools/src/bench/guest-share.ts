import type { BenchRow } from './bench.ts';

/** What a plugin may add to the tool of its runtime: as many milliseconds, or that share of it, whichever is more. */
const addedMs = 25;
const addedShare = 0.15;
export const mayAddWords = `<= ${addedMs} ms or ${100 * addedShare} %`;

function mayAdd(toolMs: number): number {
  return Math.max(addedMs, addedShare * toolMs);
}

/** The most that a start may take where the tool takes that. */
export function mostWithTool(toolMs: number): number {
  return toolMs + mayAdd(toolMs);
}

/** The row of what a driver adds to the tool: in milliseconds, beside what it may. */
export function driverShare(name: string, valueMs: number, toolMs: number, tool: string): BenchRow {
  const value = valueMs - toolMs;
  const bound = mayAdd(toolMs);
  const words = `${(valueMs / toolMs).toFixed(2)} x ${tool}, ${toolMs.toFixed(1)} ms`;
  return {
    name,
    value,
    unit: 'ms',
    bound,
    ratio: value / bound,
    target: `${mayAddWords} (${words})`,
    met: value <= bound,
  };
}

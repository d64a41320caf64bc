export { default, type SpreadConfig, spreadConfig } from './plugin.ts';
export { type SpreadOptions, spreadPolicy } from './spread.policy.ts';

export { bandOf, bands } from './bands.ts';
export { type BorgOptions, borgPolicy } from './borg.policy.ts';
export { type BorgConfig, borgConfig } from './config.ts';
export type { BorgState } from './configurable.ts';
export { default } from './plugin.ts';
export { preemptionCandidatesMax } from './preemption.ts';
export { weights } from './score.ts';

export { type QueueConfig, queueConfig, type YarnConfig, yarnConfig } from './config.ts';
export { default } from './plugin.ts';
export { yarnPolicy } from './yarn.policy.ts';
export { YarnState } from './yarn-state.ts';

export { guestHyper as default, type HyperConfig, hyperConfig } from './plugin.ts';

export { hardware, rootDisk } from './hardware.ts';
export { guestHyper as default, type HyperConfig, hyperConfig } from './plugin.ts';

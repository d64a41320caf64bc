export type { CommandOptions, Kernel, SlotCommand } from './kernel.ts';

export { guestUnikernel as default, type UnikernelConfig, unikernelConfig } from './plugin.ts';

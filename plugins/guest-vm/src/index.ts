export { guestVm as default, type VmGuestConfig, vmGuestConfig } from './plugin.ts';

export { guestLxd, guestLxd as default } from './plugin.ts';

export { guestDocker, guestDocker as default } from './plugin.ts';

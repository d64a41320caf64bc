export { hostLinux as default, type LinuxHostConfig, linuxHostConfig } from './plugin.ts';

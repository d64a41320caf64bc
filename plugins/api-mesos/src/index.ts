export { type MesosApiConfig, mesosApiConfig } from './config.ts';
export { default } from './plugin.ts';

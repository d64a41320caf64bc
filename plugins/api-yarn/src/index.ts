export { default, type YarnApiConfig, yarnApiConfig } from './plugin.ts';

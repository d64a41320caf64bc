export { type IngressProxyConfig, ingressProxyConfig } from './config.ts';
export { default } from './plugin.ts';

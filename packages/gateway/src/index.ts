export { ensureToken, tokenFileOf } from './access/token-file.ts';
export { defaultBounds, type GatewayBounds } from './bounds.ts';
export { type EndpointInfo, endpointFileOf } from './endpoint-file.ts';
export { httpStatusOf } from './error-response.ts';
export { type Gateway, type GatewayOptions, startGateway } from './gateway.ts';
export { defaultLimits, type GatewayLimits } from './limits/limits.ts';
export type { CertificateFiles } from './tls/identity.ts';
export type { SocketCounts } from './upgrades.ts';

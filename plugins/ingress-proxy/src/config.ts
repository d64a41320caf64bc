import { z } from 'zod';

const milliseconds = z.int().positive();

/** Configuration of the ingress. Every wait and every number of connections has its bound here. */
export const ingressProxyConfig = z.strictObject({
  /** Address of this machine on which services listen. */
  host: z.string().min(1).default('127.0.0.1'),
  /** How long a request or a connection waits for a ready endpoint before it is turned away. */
  endpointWaitMs: milliseconds.default(1_000),
  /** How long a connection to an endpoint may take before the next one is tried. */
  connectTimeoutMs: milliseconds.default(2_000),
  /** How long an endpoint may take until the head of its answer; then the client gets 504. */
  responseTimeoutMs: milliseconds.default(60_000),
  /** A TCP or upgraded connection without a byte for that long is closed. */
  idleTimeoutMs: milliseconds.default(600_000),
  /** Client connections per service port; further ones are closed at once. */
  connectionsMax: z.int().positive().max(65_536).default(1_024),
  /** Idle connections that are kept to each endpoint. */
  idlePerEndpointMax: z.int().nonnegative().default(32),
  /** How long requests under way may go on when a service is removed or the ingress closes. */
  drainMs: milliseconds.max(9_000).default(5_000),
});
export type IngressProxyConfig = z.output<typeof ingressProxyConfig>;

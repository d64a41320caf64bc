/**
 * How much one token and one address may use. Each may be set through {@link GatewayOptions.limits} or in the stack
 * file (`gateway.limits`). The token file's own token has no rates, only numbers: its holder owns the kernel.
 */
export interface GatewayLimits {
  /** Connections of one token: WebSockets, and answers that go on; beyond: CONNECTIONS_EXCEEDED. */
  readonly connectionsPerToken: number;
  /** TCP connections of one address; beyond, they are closed on arrival. */
  readonly connectionsPerAddress: number;
  /** Event subscriptions of one token; beyond: SUBSCRIPTIONS_EXCEEDED. */
  readonly subscriptionsPerToken: number;
  /** Named subscriptions that one token has made and that are kept; beyond: SUBSCRIPTIONS_EXCEEDED. */
  readonly namedSubscriptionsPerToken: number;
  /** Requests (handshakes too) of one token in a second, on average; beyond: RATE_LIMITED with Retry-After. */
  readonly requestsPerSecondPerToken: number;
  /** The same of one address, whatever its tokens are. */
  readonly requestsPerSecondPerAddress: number;
  /** Requests of one address that are refused for their token or origin, in a minute; beyond: RATE_LIMITED instead. */
  readonly refusalsPerMinutePerAddress: number;
  /** Messages on the WebSockets of one token in a second, on average. */
  readonly messagesPerSecondPerToken: number;
  /** The same of one address, whatever its tokens are. */
  readonly messagesPerSecondPerAddress: number;
}

export const defaultLimits: GatewayLimits = {
  connectionsPerToken: 2_048,
  connectionsPerAddress: 2_048,
  subscriptionsPerToken: 2_048,
  namedSubscriptionsPerToken: 256,
  requestsPerSecondPerToken: 500,
  requestsPerSecondPerAddress: 2_000,
  refusalsPerMinutePerAddress: 300,
  messagesPerSecondPerToken: 10_000,
  messagesPerSecondPerAddress: 40_000,
};

/** The gateway's bounds. Each may be set lower or higher through {@link GatewayOptions}. */
export interface GatewayBounds {
  /** Bytes of a request body; beyond: REQUEST_TOO_LARGE. */
  readonly bodyMaxBytes: number;
  /** Bytes of one WebSocket message from a client; beyond: close code 1009. */
  readonly frameMaxBytes: number;
  /**
   * Bytes that wait for one event subscriber; beyond, nothing is written for it until it has taken them. With one chunk
   * more (256 KiB, or a single larger event) that is all it costs, however far it is behind.
   */
  readonly socketBufferMaxBytes: number;
  /** How long a subscriber may take nothing while bytes wait for it, before it is closed (4008). 0, the default: for ever. */
  readonly slowSubscriberMs: number;
  /** Reads of the log at once for subscribers that are behind. */
  readonly feedReadsMax: number;
  /** Bytes of output that wait for one exec client; beyond, the command is ended and the socket closed with 1008. */
  readonly execBufferMaxBytes: number;
  /** Bytes of standard input that wait for one command; beyond, its socket is not read. */
  readonly stdinBufferMaxBytes: number;
  /** WebSockets at once; beyond: GATEWAY_OVERLOADED. */
  readonly socketsMax: number;
  /** TCP connections at once; beyond, they are closed on arrival. */
  readonly connectionsMax: number;
  /** How long a client may take for the TLS handshake, and for the header of a request or an upgrade; beyond: closed with 408. */
  readonly headersTimeoutMs: number;
  /** How long it may take for a request as a whole. */
  readonly requestTimeoutMs: number;
  /** Between two pings. A socket with nothing left to send that answers none of three in a row is ended. */
  readonly heartbeatMs: number;
  /** How long answers under way may go on when the gateway closes. */
  readonly closeGraceMs: number;
}

export const defaultBounds: GatewayBounds = {
  bodyMaxBytes: 4 * 1024 * 1024,
  frameMaxBytes: 1024 * 1024,
  socketBufferMaxBytes: 1024 * 1024,
  slowSubscriberMs: 0,
  feedReadsMax: 4,
  execBufferMaxBytes: 8 * 1024 * 1024,
  stdinBufferMaxBytes: 1024 * 1024,
  socketsMax: 16_384,
  connectionsMax: 20_480,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 60_000,
  heartbeatMs: 30_000,
  closeGraceMs: 2_000,
};

export {
  bearerProtocolPrefix,
  type CreatedToken,
  type Scope,
  scopes,
  type TokenInfo,
  type TokenRequest,
} from './access.ts';
export { type BackoffBounds, backoffMs, defaultBackoff } from './backoff.ts';
export { type ClientOptions, CloudosClient, type EventsRange } from './client.ts';
export {
  type CloudEvent,
  cloudEventsProtocol,
  cloudEventTypePrefix,
  fromCloudEvent,
  toCloudEvent,
} from './cloud-event.ts';
export type { EventsQuery, FeedOptions } from './event-feed.ts';
export { EventStream, type EventStreamOptions } from './event-stream.ts';
export {
  decodeExecFrame,
  type ExecChannel,
  type ExecResize,
  type ExecStatus,
  encodeExecFrame,
  encodeExecJson,
  execChannels,
  execProtocol,
} from './exec-channel.ts';
export { type HttpOptions, requestTimeoutMs } from './http.ts';
export type { WebSocketConstructor, WebSocketEventLike, WebSocketLike } from './web-socket.ts';
export { type DownLine, type EventsPage, eventsPageMax, type LogLine, type RemoteCommand } from './wire.ts';

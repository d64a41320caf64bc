export {
  bearerProtocolPrefix,
  type CreatedToken,
  type Scope,
  scopes,
  type TokenInfo,
  type TokenRequest,
} from './access.ts';
export { Appender, type AppenderOptions } from './appender.ts';
export { type BackoffBounds, backoffMs, defaultBackoff } from './backoff.ts';
export {
  BatchDecoder,
  batchEncodings,
  batchHeaderBytes,
  type DecodedBatch,
  encodeRows,
  subprotocols,
  writeBatchHeader,
} from './batch.codec.ts';
export { type ClientOptions, CloudosClient, type EventsRange } from './client.ts';
export {
  type CloudEvent,
  CloudEventWriter,
  cloudEventsProtocol,
  cloudEventTypePrefix,
  fromCloudEvent,
  toCloudEvent,
} from './cloud-event.ts';
export type { ConsumeOptions, Consumer } from './consume.ts';
export {
  type AppendEventRow,
  type AppendOutcome,
  type AppendOutcomeRow,
  type AppendParams,
  type AppendRow,
  type ControlError,
  type ControlEvent,
  type ControlMarkers,
  type ControlMethod,
  type ControlMethods,
  type ControlName,
  type ControlNotification,
  type ControlRequest,
  type ControlResponse,
  controlTypePrefix,
  type GapMarker,
  type MarkerPosition,
} from './control.ts';
export type { FeedProtocol } from './control-connection.ts';
export type { EventsQuery, FeedOptions } from './event-feed.ts';
export { type EventFilter, type EventLayer, eventLayers } from './event-filter.ts';
export { type EventOf, EventStream, type EventStreamOptions } from './event-stream.ts';
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
export type { SubscriptionInfo } from './subscription-info.ts';
export type { WebSocketConstructor, WebSocketEventLike, WebSocketLike } from './web-socket.ts';
export { type DownLine, type EventsPage, eventsPageMax, type LogLine, type RemoteCommand } from './wire.ts';
export type { Handler, WorkOptions } from './work.ts';

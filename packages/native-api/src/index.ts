export { type BodyLimits, readBody, sendJson } from './body.ts';
export { type ListenConfig, listenConfig } from './listen-config.ts';
export {
  closeGraceMs,
  NativeListener,
  type NativeListenerOptions,
  type NativeRequestHandler,
} from './native-listener.ts';

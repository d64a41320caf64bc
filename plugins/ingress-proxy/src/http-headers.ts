import type { IncomingMessage } from 'node:http';

/** Fields that belong to one connection and are not passed on (RFC 9110 section 7.6.1). */
const hopByHop = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

export type HeaderFields = Record<string, string | string[]>;

/** The fields that are passed on: all but those of the connection and those that `Connection` names. */
export function endToEnd(message: IncomingMessage): HeaderFields {
  const named = (message.headers.connection ?? '').toLowerCase().split(',');
  const dropped = new Set([...hopByHop, ...named.map((name) => name.trim())]);
  const fields: HeaderFields = {};
  for (const [name, values] of Object.entries(message.headersDistinct)) {
    if (!values || dropped.has(name)) continue;
    fields[name] = values.length === 1 ? (values[0] ?? '') : values;
  }
  return fields;
}

/** The fields of a request as the endpoint gets them: where it came from is added. */
export function forwarded(request: IncomingMessage): HeaderFields {
  const fields = endToEnd(request);
  delete fields.expect;
  const earlier = request.headers['x-forwarded-for'];
  const client = request.socket.remoteAddress ?? 'unknown';
  fields['x-forwarded-for'] = earlier ? `${earlier}, ${client}` : client;
  fields['x-forwarded-proto'] ??= 'http';
  if (request.headers.host) fields['x-forwarded-host'] ??= request.headers.host;
  return fields;
}

const idempotent = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']);

/** True when sending the request twice does what sending it once does (RFC 9110 section 9.2.2). */
export function isIdempotent(request: IncomingMessage): boolean {
  return idempotent.has(request.method ?? '');
}

/** True when a body follows the head. */
export function hasBody(request: IncomingMessage): boolean {
  const length = request.headers['content-length'];
  return request.headers['transfer-encoding'] !== undefined || (length !== undefined && length !== '0');
}

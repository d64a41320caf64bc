import { CloudosError, type ErrorBody, type ErrorCode, errorCode, messageOf } from '@cloudos/sdk';
import { redactedData } from './access/redacted.ts';

const statusByCode: Partial<Record<ErrorCode, number>> = {
  REQUEST_MALFORMED: 400,
  SUBPROTOCOL_UNSUPPORTED: 400,
  COMMAND_INVALID: 400,
  MANIFEST_MALFORMED: 400,
  POSITION_OUT_OF_RANGE: 400,
  UNAUTHENTICATED: 401,
  TOKEN_EXPIRED: 401,
  TOKEN_REVOKED: 401,
  ORIGIN_FORBIDDEN: 403,
  SCOPE_MISSING: 403,
  PERMISSION_DENIED: 403,
  ROUTE_NOT_FOUND: 404,
  TOKEN_NOT_FOUND: 404,
  SUBSCRIPTION_NOT_FOUND: 404,
  SUBSCRIPTION_CONFLICT: 409,
  PLUGIN_NOT_FOUND: 404,
  GUEST_NOT_FOUND: 404,
  WORKLOAD_NOT_FOUND: 404,
  NODE_NOT_FOUND: 404,
  INSTANCE_NOT_FOUND: 404,
  REVISION_NOT_FOUND: 404,
  IMAGE_NOT_FOUND: 404,
  COMMAND_NOT_FOUND: 404,
  SHADOW_NOT_FOUND: 404,
  TOKEN_EXISTS: 409,
  SHADOW_EXISTS: 409,
  SHADOWS_EXCEEDED: 409,
  TOKENS_EXCEEDED: 409,
  COMMAND_REFUSED: 409,
  REVISION_CONFLICT: 409,
  LOG_TRIM_REFUSED: 409,
  SWAP_ABORTED: 409,
  SWAP_IN_PROGRESS: 409,
  SLOT_CONFLICT: 409,
  SLOT_MISMATCH: 409,
  GUEST_STATE: 409,
  LOG_TRIMMED: 410,
  REQUEST_TOO_LARGE: 413,
  EVENT_TOO_LARGE: 413,
  MANIFEST_INVALID: 422,
  MANIFEST_KIND_UNKNOWN: 422,
  PLUGIN_CONFIG_INVALID: 422,
  PLUGIN_INVALID: 422,
  PLUGIN_API_VERSION: 422,
  PLUGIN_REQUIREMENT: 422,
  GUEST_SPEC_INVALID: 422,
  RATE_LIMITED: 429,
  CONNECTIONS_EXCEEDED: 429,
  SUBSCRIPTIONS_EXCEEDED: 429,
  GUEST_UNSUPPORTED: 501,
  SLOT_EMPTY: 503,
  LOG_CLOSED: 503,
  LOG_OVERLOADED: 503,
  LOG_UNAVAILABLE: 503,
  RUNTIME_UNAVAILABLE: 503,
  GATEWAY_OVERLOADED: 503,
  PLUGIN_TIMEOUT: 504,
  TIMED_OUT: 504,
  LOG_FULL: 507,
  STATE_UNWRITABLE: 507,
};

/** HTTP status of an error code. For people and proxies: programs match on the code in the body. */
export function httpStatusOf(code: string): number {
  return statusByCode[code as ErrorCode] ?? 500;
}

/**
 * The wire form of whatever was thrown, without tokens that came along in it. Anything but an operational failure is a
 * defect: INTERNAL.
 */
export function errorBodyOf(thrown: unknown): ErrorBody {
  return redactedData(bodyOf(thrown));
}

function bodyOf(thrown: unknown): ErrorBody {
  if (thrown instanceof CloudosError) return thrown.toJSON();
  const code = errorCode(thrown);
  if (code !== undefined) return new CloudosError(code, messageOf(thrown)).toJSON();
  return new CloudosError('INTERNAL', messageOf(thrown)).toJSON();
}

export function errorResponse(thrown: unknown, headers: Readonly<Record<string, string>> = {}): Response {
  const body = errorBodyOf(thrown);
  return Response.json(body, { status: httpStatusOf(body.code), headers: { ...headersOf(body), ...headers } });
}

/** Headers that go with an error: how to authenticate (RFC 9110, 11.6.1), when to try again (10.2.3). */
export function headersOf(body: ErrorBody): Record<string, string> {
  const { retryAfterMs } = body.details ?? {};
  return {
    ...(httpStatusOf(body.code) === 401 ? { 'www-authenticate': 'Bearer realm="cloudos"' } : {}),
    ...(typeof retryAfterMs === 'number' ? { 'retry-after': String(Math.ceil(retryAfterMs / 1_000)) } : {}),
  };
}

import { type ErrorCode, errorCode } from '@cloudos/sdk';

/** What the exit code of the command says. `exec` passes on the one of its command instead. */
export const exitCodes = {
  ok: 0,
  failure: 1,
  usage: 2,
  notRunning: 3,
  refused: 4,
  timeout: 5,
  interrupted: 130,
  terminated: 143,
} as const;

const byCode: Partial<Record<ErrorCode, number>> = {
  USAGE: exitCodes.usage,
  KERNEL_NOT_RUNNING: exitCodes.notRunning,
  KERNEL_UNREACHABLE: exitCodes.notRunning,
  TIMED_OUT: exitCodes.timeout,
  PLUGIN_TIMEOUT: exitCodes.timeout,
  COMMAND_INVALID: exitCodes.refused,
  COMMAND_REFUSED: exitCodes.refused,
  MANIFEST_MALFORMED: exitCodes.refused,
  MANIFEST_INVALID: exitCodes.refused,
  MANIFEST_KIND_UNKNOWN: exitCodes.refused,
  WORKLOAD_NOT_FOUND: exitCodes.refused,
  NODE_NOT_FOUND: exitCodes.refused,
  INSTANCE_NOT_FOUND: exitCodes.refused,
  REVISION_NOT_FOUND: exitCodes.refused,
  POSITION_OUT_OF_RANGE: exitCodes.refused,
  LOG_TRIMMED: exitCodes.refused,
  LOG_TRIM_REFUSED: exitCodes.refused,
  SWAP_ABORTED: exitCodes.refused,
  SWAP_IN_PROGRESS: exitCodes.refused,
  SHADOW_EXISTS: exitCodes.refused,
  TRACE_MALFORMED: exitCodes.refused,
  SHADOWS_EXCEEDED: exitCodes.refused,
  SHADOW_NOT_FOUND: exitCodes.refused,
  GUEST_UNSUPPORTED: exitCodes.refused,
  UNAUTHENTICATED: exitCodes.refused,
  TOKEN_EXPIRED: exitCodes.refused,
  TOKEN_REVOKED: exitCodes.refused,
  TOKEN_NOT_FOUND: exitCodes.refused,
  SUBSCRIPTION_NOT_FOUND: exitCodes.refused,
  SUBSCRIPTION_CONFLICT: exitCodes.refused,
  TOKEN_EXISTS: exitCodes.refused,
  TOKENS_EXCEEDED: exitCodes.refused,
  TLS_UNTRUSTED: exitCodes.refused,
  SCOPE_MISSING: exitCodes.refused,
  RATE_LIMITED: exitCodes.refused,
  CONNECTIONS_EXCEEDED: exitCodes.refused,
  SUBSCRIPTIONS_EXCEEDED: exitCodes.refused,
};

export function exitCodeOf(error: unknown): number {
  const code = errorCode(error);
  return (code && byCode[code]) ?? exitCodes.failure;
}

/** For `--help`. */
export const exitCodesHelp = `
Exit codes:
  0 done   1 failed   2 not understood   3 no kernel runs   4 refused   5 not in time   130 interrupted`;

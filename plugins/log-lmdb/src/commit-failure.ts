import { CloudosError, hasCode, messageOf } from '@cloudos/sdk';

/** What a commit that failed means: LOG_FULL when there was no space, LOG_UNAVAILABLE otherwise. */
export async function commitFailure(directory: string, error: unknown): Promise<CloudosError> {
  if (hasCode(error, 'LOG_UNAVAILABLE')) return error as CloudosError;
  const cause = await rootOf(error);
  const text = messageOf(cause);
  if (/no space|ENOSPC|quota|EDQUOT|file too large|EFBIG/i.test(text)) {
    return new CloudosError('LOG_FULL', `${directory}: ${text}`, { cause });
  }
  return new CloudosError('LOG_UNAVAILABLE', `${directory}: a commit failed: ${text}`, {
    cause,
    remedy: 'See the cause, then open the log again.',
  });
}

/** The binding rejects with an error that holds a promise of the true one. */
async function rootOf(error: unknown): Promise<unknown> {
  const { commitError } = (error ?? {}) as { commitError?: Promise<unknown> };
  if (!commitError) return error;
  return commitError.then(
    () => error,
    (cause: unknown) => cause,
  );
}

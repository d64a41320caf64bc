import { CloudosError, type SnapshotInfo } from '@cloudos/sdk';

/**
 * What `LogProvider.trim` holds to: every stored snapshot covers what is removed.
 * @throws CloudosError LOG_TRIM_REFUSED with `details: { before, allowed }`, and the `snapshot` that stands in the way
 */
export function assertTrim(before: number, snapshots: readonly SnapshotInfo[]): void {
  if (!Number.isSafeInteger(before) || before < 0) {
    throw new CloudosError('LOG_TRIM_REFUSED', `trim before ${before}: expected a position`, {
      details: { before, allowed: 0 },
      remedy: 'Give the position of the first event to keep.',
    });
  }
  if (before === 0) return;
  let oldest: SnapshotInfo | undefined;
  for (const snapshot of snapshots) if (!oldest || snapshot.position < oldest.position) oldest = snapshot;
  if (!oldest) {
    throw new CloudosError('LOG_TRIM_REFUSED', `trim before ${before}: there is no snapshot of what would be removed`, {
      details: { before, allowed: 0 },
      remedy: 'Run the stack on this log once and stop it: it leaves snapshots.',
    });
  }
  if (before <= oldest.position + 1) return;
  const { key, position } = oldest;
  throw new CloudosError(
    'LOG_TRIM_REFUSED',
    `trim before ${before}: the snapshot ${key} has the events up to position ${position}, so at most those before ${position + 1} can go`,
    { details: { before, allowed: position + 1, snapshot: key } },
  );
}

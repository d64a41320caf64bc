import { CloudosError, isPrivateType, type NewEvent } from '@cloudos/sdk';

/**
 * Refuses what a program outside of the stack may not append: the shared vocabulary is what the layers decide by, and
 * every stream of the stack has one writer.
 * @throws CloudosError EVENT_INVALID
 */
export function assertForeign(stream: string, events: readonly NewEvent[]): void {
  if (!/^x-[a-z0-9]/i.test(stream)) {
    throw new CloudosError('EVENT_INVALID', `stream ${JSON.stringify(stream)}: expected a private one, x-<program>`, {
      remedy: 'Append to a stream of your own; the others belong to the layers of the stack.',
    });
  }
  const shared = events.find(({ type }) => !isPrivateType(type));
  if (!shared) return;
  throw new CloudosError(
    'EVENT_INVALID',
    `type ${JSON.stringify(shared.type)}: expected a private one, x-<program>-…`,
    {
      remedy: 'Change the cluster with a command; it is recorded by the layer that decides it.',
    },
  );
}

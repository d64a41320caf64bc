import { join } from 'node:path';
import { CloudosError, type GuestSpec } from '@cloudos/sdk';

/** Names of the containers of a guest beside its first, in their order. */
export function furtherContainers({ template }: GuestSpec): readonly string[] {
  return (template.containers ?? []).map(({ name }) => name);
}

/** Where the logs of a container beside the first are kept, in the directory of its guest. */
export function containerDirectory(directory: string, container: string): string {
  return join(directory, 'containers', container);
}

/**
 * The number of a container of a guest: 0 is the first.
 * @throws CloudosError GUEST_NOT_FOUND naming those that there are
 */
export function containerIndex(spec: GuestSpec, container: string | undefined): number {
  const further = furtherContainers(spec);
  if (container === undefined || container === spec.template.container) return 0;
  const index = further.indexOf(container);
  if (index >= 0) return index + 1;
  const names = [spec.template.container ?? 'one without a name', ...further].join(', ');
  throw new CloudosError('GUEST_NOT_FOUND', `${spec.instance} has no container called ${container}; it has ${names}`);
}

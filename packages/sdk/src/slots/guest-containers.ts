import { CloudosError } from '../errors.ts';
import type { GuestSpec } from './guest.ts';

/** For drivers without pods. @throws CloudosError GUEST_UNSUPPORTED for a guest of several containers */
export function refuseContainers({ instance, template }: GuestSpec, runtime: string): void {
  if (!template.containers?.length) return;
  const names = template.containers.map(({ name }) => name).join(', ');
  throw new CloudosError(
    'GUEST_UNSUPPORTED',
    `${instance}: guests of ${runtime} have one container, given ${names} too`,
    {
      remedy: 'ask for a runtime that supports pods, such as hyper (runtimeClassName: hyper)',
    },
  );
}

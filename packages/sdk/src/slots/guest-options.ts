import { CloudosError } from '../errors.ts';
import type { GuestSpec } from './guest.ts';

/** For drivers whose guests have no options. @throws CloudosError GUEST_SPEC_INVALID for a guest with any */
export function refuseOptions({ instance, template }: GuestSpec, runtime: string): void {
  const names = Object.keys(template.options ?? {});
  if (names.length === 0) return;
  throw new CloudosError(
    'GUEST_SPEC_INVALID',
    `${instance}: guests of ${runtime} have no options, given ${names.join(', ')}`,
    {
      remedy: 'leave them away, or ask for the runtime that they are of',
    },
  );
}

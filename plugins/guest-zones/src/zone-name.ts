import { guestName, hostName } from '@cloudos/host-tools';
import type { GuestSpec } from '@cloudos/sdk';

/** The name by which templates ask for zones, and which owns their addresses. */
export const runtimeName = 'zones';

/** Name of a zone's directory and control groups. */
export function zoneName(instance: string): string {
  return guestName(instance, 'zone');
}

/** Who has the address of a zone, as the network of the node writes it down. */
export function ownerName(zone: string): string {
  return `${runtimeName} ${zone}`;
}

/** What a zone calls itself: what its template says, else its instance id as far as a host can have that name. */
export function hostNameOf({ instance, template }: Pick<GuestSpec, 'instance' | 'template'>): string {
  return template.hostname ?? hostName(instance, 'zone');
}

import { guestName } from '@cloudos/host-tools';

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

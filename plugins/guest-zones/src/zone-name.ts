import { digest, guestName } from '@cloudos/host-tools';

/** Name of a zone's directory and control groups. */
export function zoneName(instance: string): string {
  return guestName(instance, 'zone');
}

/** Name of the host's end of a zone's cable: 12 characters (the kernel takes 15), told apart by data directory. */
export function linkName(dataDir: string, zone: string): string {
  return `cz${digest(`${dataDir}\n${zone}`, 10)}`;
}

import type { NewEvent } from '@cloudos/sdk';
import type { YarnConfig } from './config.ts';

/** Events of this plugin alone. Others ignore them: a reservation is forgotten by a successor, settings as well. */
export const privateEvents = {
  /** The node is kept for an instance that does not fit anywhere yet. */
  reserved: 'x-resources-yarn-NodeReserved',
  /** It is not kept any more. */
  unreserved: 'x-resources-yarn-NodeUnreserved',
  /** Other settings hold from now on. */
  configured: 'x-resources-yarn-Configured',
} as const;

export interface ReservationData {
  readonly instance: string;
  readonly node: string;
}

export interface ConfiguredData {
  readonly config: YarnConfig;
}

export function nodeReserved(data: ReservationData): NewEvent {
  return { type: privateEvents.reserved, data };
}

export function nodeUnreserved(data: ReservationData): NewEvent {
  return { type: privateEvents.unreserved, data };
}

export function configured(data: ConfiguredData): NewEvent {
  return { type: privateEvents.configured, data };
}

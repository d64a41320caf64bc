import type { EventData, SharedEvent } from '@cloudos/sdk';

/** What the log says of a container beside the first of a guest. */
export interface ContainerRecord {
  readonly running: boolean;
  readonly restarts: number;
  readonly exit: EventData<'GuestContainerExited'> | undefined;
}

/** The containers of a guest, with what that event says of one of them. */
export function withContainer(
  containers: Readonly<Record<string, ContainerRecord>> | undefined,
  event: Extract<SharedEvent, { type: 'GuestContainerExited' | 'GuestContainerStarted' }>,
): Readonly<Record<string, ContainerRecord>> {
  const { container, restarts } = event.data;
  const running = event.type === 'GuestContainerStarted';
  const exit = event.type === 'GuestContainerExited' ? event.data : containers?.[container]?.exit;
  return { ...containers, [container]: { running, restarts, exit } };
}

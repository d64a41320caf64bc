import type { Kernel } from '@cloudos/kernel';
import { changeRoutes, type Endings } from './changes.routes.ts';
import { eventRoutes } from './events.routes.ts';
import { guestRoutes } from './guests.routes.ts';
import type { Route } from './route.ts';
import { stateRoutes } from './state.routes.ts';

/** Every route over HTTP. */
export function allRoutes(kernel: Kernel, endings: Endings): Route[] {
  return [...stateRoutes(kernel), ...eventRoutes(kernel), ...guestRoutes(kernel), ...changeRoutes(kernel, endings)];
}

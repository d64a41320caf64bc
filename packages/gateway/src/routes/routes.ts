import type { Kernel } from '@cloudos/kernel';
import type { Access } from '../access/access.ts';
import { changeRoutes, type Endings } from './changes.routes.ts';
import { eventRoutes } from './events.routes.ts';
import { guestRoutes } from './guests.routes.ts';
import type { Route } from './route.ts';
import { stateRoutes } from './state.routes.ts';
import { tokenRoutes } from './tokens.routes.ts';

/** Every route over HTTP. */
export function allRoutes(kernel: Kernel, access: Access, endings: Endings): Route[] {
  return [
    ...stateRoutes(kernel),
    ...eventRoutes(kernel),
    ...guestRoutes(kernel),
    ...changeRoutes(kernel, endings),
    ...tokenRoutes(access),
  ];
}

import { eventRoutes, type FeedRouteContext } from '../events/feed-routes.ts';
import { subscriptionRoutes } from '../events/named/named-routes.ts';
import type { NamedSubscriptions } from '../events/named/named-subscriptions.ts';
import { withOpenApi } from '../openapi/openapi.routes.ts';
import { changeRoutes, type Endings } from './changes.routes.ts';
import { guestRoutes } from './guests.routes.ts';
import type { Route } from './route.ts';
import { shadowRoutes } from './shadow.routes.ts';
import { socketRoutes } from './socket-routes.ts';
import { stateRoutes } from './state.routes.ts';
import { tokenRoutes } from './tokens.routes.ts';

/** Every route over HTTP. */
export function allRoutes(
  context: FeedRouteContext & { readonly named: NamedSubscriptions },
  endings: Endings,
): Route[] {
  const { kernel, access, named } = context;
  const routes = [
    ...stateRoutes(kernel),
    ...eventRoutes(context),
    ...subscriptionRoutes(named),
    ...guestRoutes(kernel),
    ...changeRoutes(kernel, endings),
    ...shadowRoutes(kernel),
    ...tokenRoutes(access),
  ];
  return withOpenApi(routes, Object.values(socketRoutes), kernel.status().version);
}

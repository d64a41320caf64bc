import { execProtocol, subprotocols } from '@cloudos/client';
import { feedQuery } from '../events/feed-query.ts';
import { execQuery } from '../queries.ts';
import type { SocketRoute } from './route.ts';

/** What is served over WebSocket. */
export const socketRoutes = {
  events: {
    id: 'subscribe',
    path: '/v1/events',
    summary: 'A subscription: every matching event once, in order, from a position on.',
    scope: 'events:read',
    query: feedQuery,
    protocols: [subprotocols.standard, subprotocols.compact],
    errors: ['POSITION_OUT_OF_RANGE', 'SUBSCRIPTIONS_EXCEEDED'],
  },
  exec: {
    id: 'exec',
    path: '/v1/instances/{id}/exec',
    summary: 'Runs a command in a guest. Frames as in `execChannels` of the client.',
    scope: 'guests:exec',
    params: { id: 'Name of the instance.' },
    query: execQuery,
    repeated: ['command', 'env'],
    protocols: [execProtocol],
  },
} as const satisfies Record<string, SocketRoute>;

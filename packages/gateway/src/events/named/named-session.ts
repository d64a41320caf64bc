import type { Duplex } from 'node:stream';
import { subprotocols } from '@cloudos/client';
import { CloudosError } from '@cloudos/sdk';
import type { WebSocket } from 'ws';
import { ControlChannel, type ControlHandlers } from '../control-channel.ts';
import {
  commonHandlers,
  type EventSessionContext,
  earlyMessages,
  encodingOf,
  peerOf,
  receive,
} from '../event-session.ts';
import { refusalOf } from '../feed.ts';
import { startOf } from '../feed-query.ts';
import { SocketSink } from '../sink.ts';
import { NamedConsumer } from './named-consumer.ts';
import type { NamedSubscription } from './named-subscription.ts';

/** Serves one WebSocket that takes events of a named subscription. */
export async function serveNamed(
  webSocket: WebSocket,
  connection: Duplex,
  context: EventSessionContext,
  name: string,
): Promise<void> {
  const { feed, kernel, query, filter, session, named } = context;
  const sink = new SocketSink(webSocket, connection);
  const early = earlyMessages(webSocket);
  try {
    const subscription = await named.join(name, session.principal, filter, () => startOf(query.from, kernel.log));
    if (!sink.isOpen) return;
    const consumer = new NamedConsumer(subscription, sink, {
      encoding: encodingOf(webSocket),
      stack: feed.stack,
      inFlightMax: query.inflight,
      redeliverMs: query.redeliverMs,
      credit: query.credit ?? Number.POSITIVE_INFINITY,
      bufferMaxBytes: feed.bufferMaxBytes,
      heartbeatMs: query.heartbeatMs,
      markers: query.markers ?? webSocket.protocol === subprotocols.compact,
    });
    const channel = new ControlChannel(peerOf(webSocket, sink, context, handlersOf(consumer, subscription, context)));
    early.handTo((data, isBinary) => receive(webSocket, channel, data, isBinary));
    subscription.join(consumer);
  } catch (error) {
    sink.close(refusalOf(error));
  }
}

function handlersOf(
  consumer: NamedConsumer,
  subscription: NamedSubscription,
  context: EventSessionContext,
): ControlHandlers {
  const from = () => ({ from: subscription.record.cursor + 1 });
  return {
    ...commonHandlers(context, () => subscription.record.cursor),
    filter: () => {
      throw new CloudosError(
        'SUBSCRIPTION_CONFLICT',
        'the filter of a named subscription is the one it was made with',
        {
          remedy: 'Make another subscription.',
        },
      );
    },
    pause: () => {
      consumer.pause();
      return from();
    },
    resume: () => {
      consumer.resume();
      return from();
    },
    credit: ({ events }) => ({ credit: consumer.grant(events) }),
    acknowledge: async (params) => {
      const positions = 'positions' in params ? new Set(params.positions) : undefined;
      const upTo = 'position' in params ? params.position : -1;
      const isDone = positions ? (at: number) => positions.has(at) : (at: number) => at <= upTo;
      return { cursor: await subscription.acknowledge(consumer, isDone) };
    },
  };
}

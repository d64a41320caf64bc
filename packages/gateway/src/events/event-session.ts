import type { Duplex } from 'node:stream';
import { type EventFilter, subprotocols } from '@cloudos/client';
import type { Kernel } from '@cloudos/kernel';
import { CloudosError, type NewEvent } from '@cloudos/sdk';
import type { RawData, WebSocket } from 'ws';
import { assertAppend, assertScope } from '../access/principal.ts';
import type { Session } from '../access/session.ts';
import { limited } from '../limits/admission.ts';
import { ControlChannel, type ControlHandlers, type ControlPeer } from './control-channel.ts';
import type { EncodingName } from './encoding.ts';
import { type Feed, refusalOf } from './feed.ts';
import { type FeedQuery, filtersOf, startOf } from './feed-query.ts';
import type { FeedSubscriber } from './feed-subscriber.ts';
import { textFrame } from './frames.ts';
import type { NamedSubscriptions } from './named/named-subscriptions.ts';
import { SocketSink } from './sink.ts';

export interface EventSessionContext {
  readonly kernel: Kernel;
  readonly feed: Feed;
  readonly named: NamedSubscriptions;
  readonly session: Session;
  readonly query: FeedQuery;
  readonly filter: EventFilter;
}

/** Serves one WebSocket of the event feed: events as the subprotocol has them, and the control channel. */
export async function serveEvents(
  webSocket: WebSocket,
  connection: Duplex,
  context: EventSessionContext,
): Promise<void> {
  const { feed, kernel, query, filter } = context;
  const sink = new SocketSink(webSocket, connection);
  const early = earlyMessages(webSocket);
  try {
    const from = await startOf(query.from, kernel.log);
    const options = {
      from,
      to: query.to,
      markers: query.markers ?? webSocket.protocol === subprotocols.compact,
      credit: query.credit ?? Number.POSITIVE_INFINITY,
      heartbeatMs: query.heartbeatMs,
      stored: query.stored,
    };
    const encoding = encodingOf(webSocket);
    const subscriber = await feed.withFilter(filter, (compiled) =>
      sink.isOpen ? feed.subscribe(compiled, encoding, sink, options) : undefined,
    );
    if (!subscriber) return;
    const channel = new ControlChannel(peerOf(webSocket, sink, context, handlersOf(subscriber, context)));
    early.handTo((data, isBinary) => receive(webSocket, channel, data, isBinary));
  } catch (error) {
    sink.close(refusalOf(error));
  }
}

/** The encoding that was agreed on in the handshake. */
export function encodingOf(webSocket: WebSocket): EncodingName {
  const base = webSocket.protocol === subprotocols.compact ? 'compact' : 'standard';
  return webSocket.extensions.includes('permessage-deflate') ? `${base}-deflate` : base;
}

/** Messages that come before there is something to answer them. The socket is not read meanwhile. */
export function earlyMessages(webSocket: WebSocket) {
  const early: (readonly [RawData, boolean])[] = [];
  let take = (data: RawData, isBinary: boolean): void => {
    early.push([data, isBinary]);
  };
  webSocket.on('message', (data, isBinary) => take(data, isBinary));
  webSocket.pause();
  return {
    handTo(receiver: (data: RawData, isBinary: boolean) => void): void {
      take = receiver;
      for (const [data, isBinary] of early.splice(0)) receiver(data, isBinary);
      webSocket.resume();
    },
  };
}

export function receive(webSocket: WebSocket, channel: ControlChannel, data: RawData, isBinary: boolean): void {
  if (isBinary) webSocket.close(1003, 'the control channel takes text messages');
  else channel.receive(data.toString());
}

export function peerOf(
  webSocket: WebSocket,
  sink: SocketSink,
  { session, feed }: Pick<EventSessionContext, 'session' | 'feed'>,
  handlers: ControlHandlers,
): ControlPeer {
  let unread = false;
  let held = false;
  // Who does not take the answers is not asked for more.
  sink.onDrain(() => {
    if (!unread) return;
    unread = false;
    if (!held) webSocket.resume();
  });
  return {
    handlers,
    admit: () => {
      const waitMs = session.message();
      if (waitMs > 0) throw limited('messages a second of the token or the address', waitMs);
    },
    send: (text) => {
      sink.write(textFrame(text));
      if (unread || sink.waitingBytes < feed.bufferMaxBytes) return;
      unread = true;
      webSocket.pause();
    },
    hold: () => {
      held = true;
      webSocket.pause();
    },
    resume: () => {
      held = false;
      if (!unread) webSocket.resume();
    },
  };
}

function handlersOf(subscriber: FeedSubscriber, context: EventSessionContext): ControlHandlers {
  const { kernel, feed, session } = context;
  return {
    ...commonHandlers(context, () => subscriber.next - 1),
    filter: async (asked) => {
      const filter = filtersOf(asked, session.principal);
      return feed.withFilter(filter, (compiled) => {
        const from = subscriber.next;
        subscriber.refilter(compiled);
        return { from };
      });
    },
    pause: () => {
      subscriber.pause();
      return { from: subscriber.next };
    },
    resume: () => {
      const from = subscriber.next;
      subscriber.resume();
      return { from };
    },
    credit: ({ events }) => {
      const credit = subscriber.grant(events);
      return { credit };
    },
    acknowledge: () => {
      throw new CloudosError(
        'REQUEST_MALFORMED',
        'this subscription has no name, so nothing keeps what it acknowledges',
        {
          remedy: 'Connect with ?subscription=<name>.',
        },
      );
    },
    ping: () => ({ position: Math.min(subscriber.next - 1, feed.head), head: kernel.log.head() }),
  };
}

/** What every connection of the feed can ask for. */
export function commonHandlers(
  { kernel, session }: Pick<EventSessionContext, 'kernel' | 'session'>,
  position: () => number,
): Pick<ControlHandlers, 'snapshot' | 'append' | 'appendEach' | 'ping'> {
  const { principal } = session;
  // One for all events of the connection: the log writes what is the same object once.
  const meta = { producer: { plugin: `x-${principal.id}`, generation: 1 }, schema: 1 };
  const complete = (type: string, given: unknown, id: string | undefined): NewEvent => {
    const data = given === undefined ? {} : given;
    return id === undefined ? { type, data, meta } : { type, data, meta, id };
  };
  return {
    snapshot: async ({ position: at }) => {
      assertScope(principal, 'state:read');
      const view = await kernel.view(at);
      return { position: view.position, view };
    },
    append: ({ stream, events, expected = 'any' }) => {
      assertAppend(principal, stream);
      return kernel.append(
        stream,
        events.map(({ type, data, id }) => complete(type, data, id)),
        expected,
      );
    },
    appendEach: ([stream, events, expected = 'any']) => {
      assertAppend(principal, stream);
      return kernel.append(
        stream,
        events.map(([type, data, id]) => complete(type, data, id)),
        expected,
      );
    },
    ping: () => ({ position: position(), head: kernel.log.head() }),
  };
}

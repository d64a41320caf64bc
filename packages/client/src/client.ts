import type {
  ClusterView,
  CommandResult,
  DoctorReport,
  ExecRequest,
  ExecSession,
  Explanation,
  GuestStats,
  KernelStatus,
  LogRequest,
  OutputChunk,
  PluginView,
  RecordedEvent,
  ShadowRequest,
  ShadowView,
  SwapRequest,
  SwapResult,
} from '@cloudos/sdk';
import { CloudosError, hasCode, newId } from '@cloudos/sdk';
import type { CreatedToken, TokenInfo, TokenRequest } from './access.ts';
import { Appender, type AppenderOptions } from './appender.ts';
import { subprotocols } from './batch.codec.ts';
import { fromCloudEvent } from './cloud-event.ts';
import { type ConsumeOptions, type Consumer, consume } from './consume.ts';
import type { FeedSource } from './event-feed.ts';
import type { EventFilter } from './event-filter.ts';
import { type EventOf, EventStream, type EventStreamOptions } from './event-stream.ts';
import { execProtocol } from './exec-channel.ts';
import { errorOfBody, HttpConnection, type HttpOptions } from './http.ts';
import { bytesOfBase64, jsonLines } from './lines.ts';
import { openRemoteExec } from './remote-exec.ts';
import type { SubscriptionInfo } from './subscription-info.ts';
import { type WebSocketConstructor, webSocketOf } from './web-socket.ts';
import type { DownLine, EventsPage, LogLine, RemoteCommand } from './wire.ts';
import { type Handler, type WorkOptions, work } from './work.ts';

export interface ClientOptions extends HttpOptions {
  /** The WebSocket class, where the platform has none (Node before 22: the one of the `ws` package). */
  readonly webSocket?: WebSocketConstructor;
}

export interface EventsRange extends EventFilter {
  /** Default: the first event forwards, the last one backwards. */
  readonly from?: number;
  /** Inclusive. */
  readonly to?: number;
  readonly direction?: 'forwards' | 'backwards';
  /** At most {@link eventsPageMax}. Default 100. */
  readonly limit?: number;
}

/** How long a command may take: a policy may have to catch up first. */
const commandTimeoutMs = 60_000;
/** How long a swap may take: the successor replays the log. */
const swapTimeoutMs = 600_000;

/**
 * A running kernel, seen through its gateway. Runs in Node and in browsers.
 * Every method may throw a CloudosError with the code that the kernel gave, else KERNEL_UNREACHABLE or TIMED_OUT.
 */
export class CloudosClient {
  readonly #http: HttpConnection;
  readonly #webSocket: WebSocketConstructor | undefined;

  constructor(options: ClientOptions) {
    this.#http = new HttpConnection(options);
    this.#webSocket = options.webSocket;
  }

  status(timeoutMs?: number): Promise<KernelStatus> {
    return this.#http.json('/v1/status', timeoutMs === undefined ? {} : { timeoutMs });
  }

  /** What the log says at its head, or at a position (POSITION_OUT_OF_RANGE). */
  view(at?: number): Promise<ClusterView> {
    return this.#http.json('/v1/view', { query: { at } });
  }

  plugins(): Promise<readonly PluginView[]> {
    return this.#http.json('/v1/plugins');
  }

  doctor(): Promise<DoctorReport> {
    return this.#http.json('/v1/doctor', { timeoutMs: commandTimeoutMs });
  }

  why(subject: string): Promise<Explanation> {
    return this.#http.json(`/v1/why/${encodeURIComponent(subject)}`);
  }

  stats(instance: string): Promise<GuestStats> {
    return this.#http.json(`/v1/instances/${encodeURIComponent(instance)}/stats`);
  }

  /** @param id UUIDv7; sending a command again with the same id does nothing twice. Default: one of its own */
  command(command: RemoteCommand, { id = newId() }: { readonly id?: string } = {}): Promise<CommandResult> {
    return this.#http.json('/v1/commands', {
      method: 'POST',
      body: { ...command, id },
      timeoutMs: commandTimeoutMs,
      repeatable: true,
    });
  }

  swap(request: SwapRequest): Promise<SwapResult> {
    return this.#http.json('/v1/swap', { method: 'POST', body: request, timeoutMs: swapTimeoutMs });
  }

  /** Runs a resource manager on the live log without acting. SHADOW_EXISTS, SHADOWS_EXCEEDED */
  shadow(request: ShadowRequest): Promise<ShadowView> {
    return this.#http.json('/v1/shadows', { method: 'POST', body: request, timeoutMs: swapTimeoutMs });
  }

  shadows(): Promise<readonly ShadowView[]> {
    return this.#http.json('/v1/shadows');
  }

  /** Ends a shadow; its last view. SHADOW_NOT_FOUND */
  endShadow(plugin: string): Promise<ShadowView> {
    return this.#http.json(`/v1/shadows/${encodeURIComponent(plugin)}`, { method: 'DELETE' });
  }

  /** One page of recorded events. For all of a range use {@link history}. */
  async eventsPage(range: EventsRange = {}): Promise<{ events: RecordedEvent[]; head: number; next?: number }> {
    const page = await this.#http.json<EventsPage>('/v1/events', {
      query: { ...range, types: joined(range.types), streams: joined(range.streams) },
    });
    return {
      events: page.events.map(fromCloudEvent),
      head: page.head,
      ...(page.next === undefined ? {} : { next: page.next }),
    };
  }

  /** Every recorded event of a range, page by page, up to the head as it is on the way. `limit` bounds the whole. */
  async *history(range: EventsRange = {}): AsyncGenerator<RecordedEvent, void> {
    let left = range.limit ?? Number.POSITIVE_INFINITY;
    let from = range.from;
    while (left > 0) {
      const limit = Math.min(left, 1_000);
      const page = await this.eventsPage({ ...range, limit, ...(from === undefined ? {} : { from }) });
      yield* page.events;
      left -= page.events.length;
      if (page.next === undefined) return;
      from = page.next;
    }
  }

  /** Live events with resume; see {@link EventStream}. Types that are named without `*` give their events typed data. */
  events<const Type extends string = string>(
    options: EventStreamOptions & { readonly types?: readonly Type[] } = {},
  ): EventStream<EventOf<Type>> {
    return new EventStream(this.#feed(), options);
  }

  /** Hands every matching event to a consumer that keeps its own position, exactly once; see {@link Consumer}. */
  consume(consumer: Consumer, options: ConsumeOptions = {}): Promise<void> {
    return consume(this.#feed(), consumer, options);
  }

  /** Takes events of a named subscription, together with its other consumers; see {@link work}. */
  work(name: string, handler: Handler, options: WorkOptions = {}): Promise<void> {
    return work(this.#feed(), name, handler, options);
  }

  /** The named subscriptions of the token; of all tokens for an admin. */
  subscriptions(): Promise<readonly SubscriptionInfo[]> {
    return this.#http.json('/v1/subscriptions');
  }

  /** Deletes a named subscription and closes its connections (SUBSCRIPTION_NOT_FOUND). */
  deleteSubscription(name: string): Promise<SubscriptionInfo> {
    return this.#http.json(`/v1/subscriptions/${encodeURIComponent(name)}`, { method: 'DELETE' });
  }

  /** Appends private events, many at a time, each acknowledged when it is durable. To be closed. */
  appender(options: AppenderOptions = {}): Appender {
    return new Appender(this.#feed(), options);
  }

  #feed(): FeedSource {
    return {
      webSocket: webSocketOf(this.#webSocket),
      head: async () => (await this.status(5_000)).head,
      url: (query) => this.#http.socketUrl('/v1/events', query),
      protocols: (protocol) => this.#http.socketProtocols(subprotocols[protocol]),
    };
  }

  /** Output of a guest as it was kept, and with `follow` as it comes, until the signal is aborted. */
  async *logs(instance: string, request: LogRequest = {}): AsyncGenerator<OutputChunk, void> {
    const response = await this.#http.send(`/v1/instances/${encodeURIComponent(instance)}/logs`, {
      query: { container: request.container, follow: request.follow, tail: request.tailLines, since: request.since },
      accept: 'application/x-ndjson',
      signal: request.signal,
    });
    if (!response.body) return;
    try {
      for await (const line of jsonLines<LogLine>(response.body)) {
        if ('error' in line) throw errorOfBody(line.error);
        yield { stream: line.stream, data: bytesOfBase64(line.data) };
      }
    } catch (error) {
      if (!request.signal?.aborted) throw error;
    }
  }

  /** Runs a command in a guest. `kill` of the session ends it. */
  async exec(instance: string, request: ExecRequest, timeoutMs = commandTimeoutMs): Promise<ExecSession> {
    const url = this.#http.socketUrl(`/v1/instances/${encodeURIComponent(instance)}/exec`, {
      container: request.container,
      command: request.command,
      env: Object.entries(request.env ?? {}).map(([name, value]) => `${name}=${value}`),
      workingDir: request.workingDir,
      ...(request.tty ? { tty: true, columns: request.tty.columns, rows: request.tty.rows } : {}),
    });
    try {
      return await openRemoteExec(
        webSocketOf(this.#webSocket),
        url,
        this.#http.socketProtocols(execProtocol),
        timeoutMs,
      );
    } catch (error) {
      // A refused handshake has no reason that a browser would tell; a plain request finds it out.
      if (hasCode(error, 'KERNEL_UNREACHABLE')) await this.status(5_000);
      throw error;
    }
  }

  /** Makes a token; the answer is the only time that it is told. TOKEN_EXISTS, TOKENS_EXCEEDED */
  createToken(request: TokenRequest): Promise<CreatedToken> {
    return this.#http.json('/v1/tokens', { method: 'POST', body: request });
  }

  /** The active tokens, and those that ended last. */
  tokens(): Promise<readonly TokenInfo[]> {
    return this.#http.json('/v1/tokens');
  }

  /** Ends a token and every connection that it has open. @param token its id or its name (TOKEN_NOT_FOUND) */
  revokeToken(token: string): Promise<TokenInfo> {
    return this.#http.json(`/v1/tokens/${encodeURIComponent(token)}`, { method: 'DELETE' });
  }

  /** Removes every workload and guest and stops the kernel. Resolves when that is done. */
  async down(onProgress: (text: string) => void = () => {}): Promise<void> {
    const response = await this.#http.send('/v1/down', { method: 'POST' });
    if (response.body) {
      for await (const line of jsonLines<DownLine>(response.body)) {
        if ('progress' in line) onProgress(line.progress);
        else if ('error' in line) throw errorOfBody(line.error);
        else return;
      }
    }
    throw new CloudosError('KERNEL_UNREACHABLE', 'the connection ended before the kernel had removed everything', {
      remedy: 'Run `cloudos down` again: it goes on where it was.',
    });
  }

  /** Stops the kernel. Guests go on running. */
  async stop(): Promise<void> {
    await this.#http.json('/v1/stop', { method: 'POST' });
  }
}

function joined(values: readonly string[] | undefined): string | undefined {
  return values === undefined || values.length === 0 ? undefined : values.join(',');
}

import { toCloudEvent } from '@cloudos/client';
import type { Kernel } from '@cloudos/kernel';
import { CloudosError, type Filter, messageOf, type RecordedEvent } from '@cloudos/sdk';
import type { Subscription } from 'rxjs';
import { WebSocket } from 'ws';
import type { GatewayBounds } from './bounds.ts';
import { errorBodyOf } from './error-response.ts';
import type { SubscriptionQuery } from './queries.ts';

/**
 * Where a subscription begins.
 * @throws CloudosError POSITION_OUT_OF_RANGE when that lies beyond the next event: the subscriber knows another log
 */
export function startOf(query: Pick<SubscriptionQuery, 'from'>, head: number): number {
  if (query.from === 'start') return 0;
  if (query.from === 'now') return head + 1;
  if (query.from <= head + 1) return query.from;
  throw new CloudosError(
    'POSITION_OUT_OF_RANGE',
    `events from ${query.from} were asked for, the log ends at ${head}; expected 0 to ${head + 1}, now or start`,
    { details: { from: query.from, head } },
  );
}

/**
 * Sends every matching event as one message, in order. Never drops: when the peer does not take what was sent, the
 * log is not read further, and what comes meanwhile stays there.
 */
export class EventSocket {
  readonly #socket: WebSocket;
  readonly #stack: string;
  readonly #bufferMaxBytes: number;
  #subscription: Subscription | undefined;
  #batch: readonly RecordedEvent[] = [];
  #sent = 0;
  #full = false;
  #taken: (() => void) | undefined;

  constructor(
    socket: WebSocket,
    kernel: Kernel,
    query: { readonly from: SubscriptionQuery['from']; readonly filter: Filter },
    bounds: GatewayBounds,
  ) {
    this.#socket = socket;
    this.#stack = kernel.status().stack;
    this.#bufferMaxBytes = bounds.socketBufferMaxBytes;
    socket.on('close', () => this.#close());
    socket.on('message', () => socket.close(1003, 'this socket only sends'));
    const from = startOf(query, kernel.log.head());
    this.#subscription = kernel.log.subscribe(from, query.filter, { ready: () => this.#ready() }).subscribe({
      next: (batch) => this.#take(batch),
      error: (error: unknown) => socket.close(1011, closeReason(`${errorBodyOf(error).code}: ${messageOf(error)}`)),
      complete: () => socket.close(1001, 'the kernel stops'),
    });
    if (socket.readyState !== WebSocket.OPEN) this.#close();
  }

  #take(batch: readonly RecordedEvent[]): void {
    this.#batch = this.#sent < this.#batch.length ? [...this.#batch.slice(this.#sent), ...batch] : batch;
    this.#sent = 0;
    this.#pump();
  }

  #ready(): Promise<void> {
    if (this.#idle()) return Promise.resolve();
    return new Promise((resolve) => {
      this.#taken = resolve;
    });
  }

  #idle(): boolean {
    return this.#socket.readyState !== WebSocket.OPEN || (!this.#full && this.#sent >= this.#batch.length);
  }

  #pump(): void {
    const socket = this.#socket;
    while (this.#sent < this.#batch.length && socket.readyState === WebSocket.OPEN) {
      if (socket.bufferedAmount >= this.#bufferMaxBytes) {
        this.#full = true;
        return;
      }
      const event = this.#batch[this.#sent++];
      if (event) socket.send(JSON.stringify(toCloudEvent(event, this.#stack)), () => this.#flushed());
    }
    this.#batch = [];
    this.#sent = 0;
    this.#taken?.();
    this.#taken = undefined;
  }

  #flushed(): void {
    if (!this.#full || this.#socket.bufferedAmount > this.#bufferMaxBytes / 2) return;
    this.#full = false;
    this.#pump();
  }

  #close(): void {
    this.#subscription?.unsubscribe();
    this.#subscription = undefined;
    this.#batch = [];
    this.#sent = 0;
    this.#taken?.();
    this.#taken = undefined;
  }
}

/** A close reason holds at most 123 bytes (RFC 6455, 5.5). */
export function closeReason(text: string): string {
  let reason = text;
  while (Buffer.byteLength(reason) > 123) reason = reason.slice(0, -1);
  return reason;
}

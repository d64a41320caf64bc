import type { ServerResponse } from 'node:http';
import type { Clock } from '@cloudos/sdk';
import { recordOf } from './record-io.ts';

export interface StreamLimits {
  readonly heartbeatIntervalMs: number;
  readonly streamBufferMaxBytes: number;
}

/** The connection on which a framework gets its events. Each event is one write, so one chunk of the answer. */
export class FrameworkStream {
  readonly id: string;
  readonly #response: ServerResponse;
  readonly #clock: Clock;
  readonly #limits: StreamLimits;
  #cancelHeartbeat: () => void = () => {};

  constructor(id: string, response: ServerResponse, clock: Clock, limits: StreamLimits) {
    this.id = id;
    this.#response = response;
    this.#clock = clock;
    this.#limits = limits;
    response.writeHead(200, { 'content-type': 'application/json', 'mesos-stream-id': id });
    response.flushHeaders();
    this.#beat();
  }

  get open(): boolean {
    return !this.#response.destroyed && !this.#response.writableEnded;
  }

  /** A framework that does not read is disconnected: it subscribes again and reconciles. */
  send(event: object): void {
    if (!this.open) return;
    if (this.#response.writableLength > this.#limits.streamBufferMaxBytes) return void this.#response.destroy();
    this.#response.write(recordOf(event));
  }

  /** Ends it, with what is wrong where something is. */
  end(error?: string): void {
    this.#cancelHeartbeat();
    if (!this.open) return;
    if (error !== undefined) this.send({ type: 'ERROR', error: { message: error } });
    this.#response.end();
  }

  #beat(): void {
    this.#cancelHeartbeat = this.#clock.after(this.#limits.heartbeatIntervalMs, () => {
      if (!this.open) return;
      this.send({ type: 'HEARTBEAT' });
      this.#beat();
    });
  }
}

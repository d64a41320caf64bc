import type { ControlError, ControlMethod, ControlResponse } from '@cloudos/client';
import { CloudosError, describeIssues } from '@cloudos/sdk';
import type { z } from 'zod';
import { redacted } from '../access/redacted.ts';
import { errorBodyOf } from '../error-response.ts';
import { controlMethods, controlRequest } from './control-schemas.ts';

/** Requests of one batch. */
export const batchMax = 4_096;
/** Requests of one connection that are not answered yet. Beyond, its messages are not read. */
export const requestsInFlightMax = 8_192;

type Params<Method extends ControlMethod> = z.output<(typeof controlMethods)[Method]['params']>;

/** What answers the requests of one connection. Each may throw a CloudosError. */
export type ControlHandlers = {
  readonly [Method in ControlMethod]: (params: Params<Method>) => unknown;
};

export interface ControlPeer {
  readonly handlers: ControlHandlers;
  /** Called for each request. Throws RATE_LIMITED. */
  admit(): void;
  send(text: string): void;
  /** No more messages are read until `resume`. */
  hold(): void;
  resume(): void;
}

/**
 * The control channel of one connection: JSON-RPC 2.0 in text messages (jsonrpc.org/specification), single requests and
 * batches. Requests take effect in the order in which they came, but for appends, which are answered when they are
 * durable while others go on.
 */
export class ControlChannel {
  readonly #peer: ControlPeer;
  #inFlight = 0;
  #held = false;
  #before: Promise<unknown> | undefined;

  constructor(peer: ControlPeer) {
    this.#peer = peer;
  }

  receive(text: string): void {
    let given: unknown;
    try {
      given = JSON.parse(text);
    } catch (error) {
      return this.#send(failure(null, -32700, `the message is not JSON: ${(error as Error).message}`));
    }
    if (!Array.isArray(given)) return this.#single(given);
    if (given.length === 0 || given.length > batchMax) {
      const message = `a batch of ${given.length} requests, expected 1 to ${batchMax}`;
      return this.#send(failure(null, -32600, message));
    }
    this.#batch(given);
  }

  #single(given: unknown): void {
    const answer = this.#answer(given);
    if (answer instanceof Promise)
      this.#count(
        1,
        answer.then((response) => this.#send(response)),
      );
    else this.#send(answer);
  }

  /** Answered at once when the last of its requests is. */
  #batch(given: readonly unknown[]): void {
    const answers = given.map((each) => this.#answer(each));
    this.#count(
      given.length,
      Promise.all(answers).then((responses) => {
        const said = responses.filter((response) => response !== undefined);
        if (said.length > 0) this.#peer.send(`[${said.join(',')}]`);
      }),
    );
  }

  /** The text of the response; undefined for a notification. */
  #answer(given: unknown): string | undefined | Promise<string | undefined> {
    const request = controlRequest.safeParse(given);
    if (!request.success) return failure(idOf(given), -32600, describeIssues(request.error, given));
    const { id, method } = request.data;
    if (!Object.hasOwn(controlMethods, method)) {
      return told(
        id,
        failure(id ?? null, -32601, `no method ${method}; there are ${Object.keys(controlMethods).join(', ')}`),
      );
    }
    const schema = controlMethods[method as ControlMethod].params;
    const params = schema.safeParse(request.data.params ?? {});
    if (!params.success)
      return told(id, failure(id ?? null, -32602, describeIssues(params.error, request.data.params ?? {})));
    const run = async () => {
      try {
        this.#peer.admit();
        const handler = this.#peer.handlers[method as ControlMethod] as (given: unknown) => unknown;
        const result = await handler(params.data);
        return told(id, success(id ?? null, result));
      } catch (error) {
        const body = errorBodyOf(error);
        return told(id, failure(id ?? null, -32000, body.message, body));
      }
    };
    if (method === 'append') return run();
    const answer = (this.#before ?? Promise.resolve()).then(run);
    this.#before = answer;
    return answer;
  }

  #count(requests: number, done: Promise<void>): void {
    this.#inFlight += requests;
    if (this.#inFlight >= requestsInFlightMax && !this.#held) {
      this.#held = true;
      this.#peer.hold();
    }
    void done.then(() => {
      this.#inFlight -= requests;
      if (!this.#held || this.#inFlight > requestsInFlightMax / 2) return;
      this.#held = false;
      this.#peer.resume();
    });
  }

  #send(text: string | undefined): void {
    if (text !== undefined) this.#peer.send(text);
  }
}

function told(id: string | number | null | undefined, response: string): string | undefined {
  return id === undefined ? undefined : response;
}

function success(id: string | number | null, result: unknown): string {
  return `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":${JSON.stringify(result)}}`;
}

function failure(id: string | number | null, code: number, message: string, data?: ControlError['data']): string {
  const body = data ?? new CloudosError('REQUEST_MALFORMED', message).toJSON();
  const response: ControlResponse = { jsonrpc: '2.0', id, error: { code, message, data: body } };
  // What was given is named, but for a token in it.
  return redacted(JSON.stringify(response));
}

function idOf(given: unknown): string | number | null {
  const id = typeof given === 'object' && given !== null ? (given as { id?: unknown }).id : null;
  return typeof id === 'string' || typeof id === 'number' ? id : null;
}

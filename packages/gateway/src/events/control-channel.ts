import type {
  AppendOutcome,
  AppendParams,
  AppendRow,
  ControlError,
  ControlMethod,
  ControlResponse,
} from '@cloudos/client';
import { CloudosError, describeIssues } from '@cloudos/sdk';
import type { z } from 'zod';
import { redacted } from '../access/redacted.ts';
import { errorBodyOf } from '../error-response.ts';
import { appendRow, appendsMax, controlMethods, controlRequest } from './control-schemas.ts';
import { isPlainRow, type PlainAppend, plainAppend, plainAppends } from './plain-append.ts';

/** Requests of one batch. */
export const batchMax = 4_096;
/** Requests of one connection that are not answered yet. Beyond, its messages are not read. */
export const requestsInFlightMax = 8_192;

type Params<Method extends ControlMethod> = z.output<(typeof controlMethods)[Method]['params']>;

/** What answers the requests of one connection. Each may throw a CloudosError. */
export type ControlHandlers = {
  readonly [Method in Exclude<ControlMethod, 'append' | 'appendEach'>]: (params: Params<Method>) => unknown;
} & {
  readonly append: (params: AppendParams) => Promise<AppendOutcome>;
  /** One of them. */
  readonly appendEach: (row: AppendRow) => Promise<AppendOutcome>;
};

/** Takes the text of a response; undefined: there is none to a notification. */
type Tell = (response: string | undefined) => void;

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
    this.#begin(1);
    this.#answer(given, (response) => {
      if (response !== undefined) this.#peer.send(response);
      this.#done(1);
    });
  }

  /** Answered at once when the last of its requests is. */
  #batch(given: readonly unknown[]): void {
    const { length } = given;
    const responses = new Array<string | undefined>(length);
    let left = length;
    this.#begin(length);
    for (let index = 0; index < length; index++) {
      this.#answer(given[index], (response) => {
        responses[index] = response;
        if (--left > 0) return;
        const said = responses.filter((each) => each !== undefined);
        if (said.length > 0) this.#peer.send(`[${said.join(',')}]`);
        this.#done(length);
      });
    }
  }

  /** Tells the response once, at once or later. */
  #answer(given: unknown, tell: Tell): void {
    const append = plainAppend(given);
    if (append) return this.#append(append, tell);
    const each = plainAppends(given);
    if (each) return this.#appendEach(each.id, each.appends, tell);
    const request = controlRequest.safeParse(given);
    if (!request.success) return tell(failure(idOf(given), -32600, describeIssues(request.error, given)));
    const { id, method } = request.data;
    if (!Object.hasOwn(controlMethods, method)) {
      const message = `no method ${method}; there are ${Object.keys(controlMethods).join(', ')}`;
      return tell(told(id, failure(id ?? null, -32601, message)));
    }
    if (method === 'appendEach') {
      const appends = (request.data.params as { appends?: unknown } | null | undefined)?.appends;
      const isMany = Array.isArray(appends) && appends.length > 0 && appends.length <= appendsMax;
      if (isMany) return this.#appendEach(id, appends, tell);
    }
    const schema = controlMethods[method as ControlMethod].params;
    const params = schema.safeParse(request.data.params ?? {});
    if (!params.success) {
      const message = describeIssues(params.error, request.data.params ?? {});
      return tell(told(id, failure(id ?? null, -32602, message)));
    }
    const run = async () => tell(told(id, await this.#run(method as ControlMethod, params.data, id ?? null)));
    if (method === 'append') void run();
    else this.#before = (this.#before ?? Promise.resolve()).then(run);
  }

  async #run(method: ControlMethod, params: unknown, id: string | number | null): Promise<string> {
    try {
      this.#peer.admit();
      const handler = this.#peer.handlers[method] as (given: unknown) => unknown;
      return success(id, JSON.stringify(await handler(params)));
    } catch (error) {
      return refusal(id, error);
    }
  }

  #append({ id, params }: PlainAppend, tell: Tell): void {
    try {
      this.#peer.admit();
      this.#peer.handlers.append(params).then(
        (outcome) => tell(success(id, outcomeText(outcome))),
        (error) => tell(refusal(id, error)),
      );
    } catch (error) {
      tell(refusal(id, error));
    }
  }

  /** Answered when the last of them is. What is wrong with one is its own outcome. */
  #appendEach(id: string | number | null | undefined, rows: readonly unknown[], tell: Tell): void {
    const { length } = rows;
    const outcomes = new Array<string>(length);
    let left = length;
    const settle = (index: number, outcome: string) => {
      outcomes[index] = outcome;
      if (--left > 0) return;
      tell(id === undefined ? undefined : success(id, `{"outcomes":[${outcomes.join(',')}]}`));
      this.#done(length);
    };
    this.#begin(length);
    for (let index = 0; index < length; index++) {
      const row = rows[index];
      try {
        this.#peer.admit();
        this.#peer.handlers.appendEach(isPlainRow(row) ? row : rowOf(row)).then(
          ({ first, last, revision, duplicate }) => settle(index, `[${first},${last},${revision},${duplicate}]`),
          (error) => settle(index, faultText(error)),
        );
      } catch (error) {
        settle(index, faultText(error));
      }
    }
  }

  #begin(requests: number): void {
    this.#inFlight += requests;
    if (this.#inFlight < requestsInFlightMax || this.#held) return;
    this.#held = true;
    this.#peer.hold();
  }

  #done(requests: number): void {
    this.#inFlight -= requests;
    if (!this.#held || this.#inFlight > requestsInFlightMax / 2) return;
    this.#held = false;
    this.#peer.resume();
  }

  #send(text: string | undefined): void {
    if (text !== undefined) this.#peer.send(text);
  }
}

/** @throws CloudosError REQUEST_MALFORMED */
function rowOf(given: unknown): AppendRow {
  const row = appendRow.safeParse(given);
  if (row.success) return row.data as AppendRow;
  throw new CloudosError('REQUEST_MALFORMED', describeIssues(row.error, given));
}

function told(id: string | number | null | undefined, response: string): string | undefined {
  return id === undefined ? undefined : response;
}

function success(id: string | number | null, result: string): string {
  return `{"jsonrpc":"2.0","id":${typeof id === 'number' ? id : JSON.stringify(id)},"result":${result}}`;
}

function outcomeText({ first, last, revision, duplicate }: AppendOutcome): string {
  return `{"first":${first},"last":${last},"revision":${revision},"duplicate":${duplicate}}`;
}

function refusal(id: string | number | null, error: unknown): string {
  const body = errorBodyOf(error);
  return failure(id, -32000, body.message, body);
}

/** What was wrong with one append of many. */
function faultText(error: unknown): string {
  const data = errorBodyOf(error);
  const fault: ControlError = { code: -32000, message: data.message, data };
  return redacted(JSON.stringify(fault));
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

import { CloudosError, errorCode, messageOf, newId } from '@cloudos/sdk';
import { type BackoffBounds, backoffMs, defaultBackoff, pause } from './backoff.ts';
import type {
  AppendEventRow,
  AppendOutcome,
  AppendOutcomeRow,
  AppendParams,
  AppendRow,
  ControlError,
  ControlMethods,
} from './control.ts';
import { ControlConnection, errorOf, type Waiting } from './control-connection.ts';
import type { FeedSource } from './event-feed.ts';

export interface AppenderOptions {
  /** Appends that may wait for their answer. Beyond, `append` rejects with LOG_OVERLOADED. Default 16,384. */
  readonly inFlightMax?: number;
  /** Attempts in a row to reach the gateway before what waits is rejected. Default 20. */
  readonly retriesMax?: number;
  readonly backoff?: BackoffBounds;
}

/**
 * Appends in one message: few enough that the first are under way while the last are still being made, and that most messages
 * are within what a server of Node.js reads at a time, 64 KiB.
 */
const appendsOfMessageMax = 128;
/** Characters in one message, unless a single append has more. */
const charactersOfMessageMax = 256 * 1024;

/** An append that is not answered yet. */
interface Pending {
  /** As a row, as JSON: what stood in it when it was called. */
  readonly row: string;
  readonly resolve: (outcome: AppendOutcome) => void;
  readonly reject: (error: unknown) => void;
}

/** Appends of one message. It is emptied with the answer: what still refers to it then keeps nothing alive. */
interface Message {
  appends: readonly Pending[];
}

/**
 * Appends private events over one connection, many at a time; each append is answered when it is durable. Every event
 * gets an id before it is sent, so what was on the way when a connection was lost is sent again and recorded once.
 */
export class Appender {
  readonly #source: FeedSource;
  readonly #options: AppenderOptions;
  readonly #closed = new AbortController();
  #connection: ControlConnection | undefined;
  #isOpen = false;
  #inFlight = 0;
  /** Not sent yet on this connection. */
  #queue: Pending[] = [];
  /** Sent on this connection and not answered, in order. */
  readonly #sent = new Set<Message>();
  /** The gateway is of a time when there were no requests for many appends. */
  #isSingle = false;
  #attempt = 0;

  constructor(source: FeedSource, options: AppenderOptions = {}) {
    this.#source = source;
    this.#options = options;
  }

  /**
   * @throws CloudosError what the gateway refuses with (SCOPE_MISSING, EVENT_INVALID, REVISION_CONFLICT, …),
   * LOG_OVERLOADED, KERNEL_UNREACHABLE (it may have been recorded: the same ids can be appended again)
   */
  append(
    stream: string,
    events: AppendParams['events'],
    expected: NonNullable<AppendParams['expected']> = 'any',
  ): Promise<AppendOutcome> {
    const { inFlightMax = 16_384 } = this.#options;
    if (this.#inFlight >= inFlightMax) {
      const message = `${this.#inFlight} appends wait, expected at most ${inFlightMax}`;
      return Promise.reject(new CloudosError('LOG_OVERLOADED', message));
    }
    if (this.#closed.signal.aborted)
      return Promise.reject(new CloudosError('KERNEL_UNREACHABLE', 'the appender was closed'));
    return new Promise((resolve, reject) => {
      const queued = this.#queue.push({ row: rowText(stream, events, expected), resolve, reject });
      this.#inFlight++;
      if (!this.#connection) this.#connect();
      if (queued === 1) queueMicrotask(() => this.#flush());
      // The other end works on these while the rest are still being made.
      else if (queued === appendsOfMessageMax) this.#flush();
    });
  }

  close(): void {
    this.#closed.abort();
    this.#connection?.close();
    this.#rejectAll(new CloudosError('KERNEL_UNREACHABLE', 'the appender was closed'));
  }

  #connect(): void {
    // Nothing is granted, so no event comes.
    const url = this.#source.url({ credit: 0, markers: false, deflate: false });
    this.#isOpen = false;
    this.#connection = new ControlConnection(this.#source.webSocket, url, this.#source.protocols('standard'), {
      opened: () => {
        this.#attempt = 0;
        this.#isOpen = true;
        this.#flush();
      },
      events: () => {},
      marker: () => {},
      closed: ({ reason }) => {
        this.#isOpen = false;
        void this.#reconnect(reason);
      },
    });
  }

  #flush(): void {
    if (!this.#isOpen) return;
    const queue = this.#queue;
    this.#queue = [];
    for (let at = 0; at < queue.length; ) {
      const begin = at;
      const most = Math.min(queue.length, begin + (this.#isSingle ? 1 : appendsOfMessageMax));
      let characters = 0;
      do characters += queue[at++]!.row.length;
      while (at < most && characters < charactersOfMessageMax);
      this.#send({ appends: begin === 0 && at === queue.length ? queue : queue.slice(begin, at) });
    }
  }

  #send(message: Message): void {
    this.#sent.add(message);
    const waiting: Waiting<ControlMethods['appendEach']['result']> = {
      resolve: ({ outcomes }) => this.#answered(message, outcomes),
      reject: (error, isUnknown) => {
        // A connection that was lost: it is sent again on the next one.
        if (errorCode(error) === 'KERNEL_UNREACHABLE') return;
        if (isUnknown) return this.#singly();
        this.#answered(
          message,
          message.appends.map(() => error),
        );
      },
    };
    if (this.#isSingle) return this.#sendSingle(message, waiting);
    const rows = message.appends.map(({ row }) => row).join(',');
    this.#connection?.requestNow('appendEach', `{"appends":[${rows}]}`, waiting);
  }

  #sendSingle({ appends }: Message, { resolve, reject }: Waiting<ControlMethods['appendEach']['result']>): void {
    this.#connection?.request('append', paramsOf(appends[0]!.row), {
      resolve: ({ first, last, revision, duplicate }) => resolve({ outcomes: [[first, last, revision, duplicate]] }),
      reject,
    });
  }

  /** One by one from now on. Of what was asked for at once nothing was recorded: it is sent again, in its order. */
  #singly(): void {
    this.#isSingle = true;
    this.#connection?.close();
    this.#queue = this.#all();
    this.#connect();
  }

  #answered(message: Message, outcomes: readonly unknown[]): void {
    const { appends } = message;
    this.#sent.delete(message);
    message.appends = [];
    this.#inFlight -= appends.length;
    for (let index = 0; index < appends.length; index++) answer(appends[index]!, outcomes[index]);
  }

  async #reconnect(reason: string): Promise<void> {
    const { retriesMax = 20, backoff = defaultBackoff } = this.#options;
    this.#attempt++;
    if (this.#attempt > retriesMax) {
      this.#connection = undefined;
      this.#attempt = 0;
      return this.#rejectAll(
        new CloudosError('KERNEL_UNREACHABLE', `no connection after ${retriesMax} attempts: ${reason}`),
      );
    }
    try {
      await pause(backoffMs(this.#attempt, backoff, Math.random()), this.#closed.signal);
      if (this.#closed.signal.aborted) return;
      // A handshake is refused without a reason; a plain request finds it out.
      if (this.#attempt > 1) await this.#source.head();
    } catch (error) {
      if (errorCode(error) !== 'KERNEL_UNREACHABLE' && errorCode(error) !== 'TIMED_OUT') {
        this.#connection = undefined;
        return this.#rejectAll(error);
      }
      return this.#reconnect(messageOf(error));
    }
    this.#queue = this.#all();
    this.#connect();
  }

  /** Takes all that is not answered, in the order of the calls. */
  #all(): Pending[] {
    const all = [...this.#sent].flatMap(({ appends }) => appends).concat(this.#queue);
    this.#sent.clear();
    this.#queue = [];
    return all;
  }

  #rejectAll(error: unknown): void {
    const all = this.#all();
    this.#inFlight -= all.length;
    for (const { reject } of all) reject(error);
  }
}

/** @param outcome the row, what was wrong with the append, or why there is no answer */
function answer({ resolve, reject }: Pending, outcome: unknown): void {
  if (Array.isArray(outcome)) {
    const [first, last, revision, duplicate] = outcome as unknown as AppendOutcomeRow;
    resolve({ first, last, revision, duplicate });
  } else if (outcome instanceof Error) reject(outcome);
  else if (outcome === undefined) reject(new CloudosError('REQUEST_MALFORMED', 'the gateway left the append out'));
  else reject(errorOf(outcome as ControlError));
}

/** An append as a row, as JSON. Events without an id get one. @throws TypeError for data that have no JSON */
function rowText(
  stream: string,
  events: AppendParams['events'],
  expected: NonNullable<AppendParams['expected']>,
): string {
  let rows = '';
  for (const { type, data, id } of events) {
    // What has no JSON of its own, such as a function, is left out of objects too.
    const json = JSON.stringify(data) ?? '{}';
    rows += `${rows === '' ? '' : ','}[${JSON.stringify(type)},${json},${id === undefined ? `"${newId()}"` : JSON.stringify(id)}]`;
  }
  const text = `[${JSON.stringify(stream)},[${rows}]`;
  return expected === 'any' ? `${text}]` : `${text},${JSON.stringify(expected)}]`;
}

function paramsOf(row: string): AppendParams {
  const [stream, events, expected] = JSON.parse(row) as AppendRow;
  const event = ([type, data, id]: AppendEventRow) => (id === undefined ? { type, data } : { type, data, id });
  const params = { stream, events: events.map(event) };
  return expected === undefined ? params : { ...params, expected };
}

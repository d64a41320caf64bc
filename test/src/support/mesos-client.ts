import { type ClientRequest, type IncomingMessage, request } from 'node:http';

export interface MesosEvent {
  readonly type: string;
  readonly [field: string]: unknown;
}

export interface Offer {
  readonly id: { readonly value: string };
  readonly agent_id: { readonly value: string };
  readonly resources: readonly { readonly name: string; readonly scalar?: { readonly value: number } }[];
}

export interface Status {
  readonly task_id: { readonly value: string };
  readonly agent_id: { readonly value: string };
  readonly state: string;
  readonly uuid?: string;
  readonly reason?: string;
  readonly message?: string;
}

/** A framework as the documentation of the scheduler HTTP API describes one: RecordIO read by length. */
export class MesosClient {
  readonly events: MesosEvent[] = [];
  readonly #url: string;
  frameworkId: string | undefined;
  streamId: string | undefined;
  /** Whether updates are acknowledged as they come. */
  acknowledges = true;
  ended = false;
  #request: ClientRequest | undefined;
  #buffered = Buffer.alloc(0);

  constructor(url: string) {
    this.#url = `${url}/api/v1/scheduler`;
  }

  subscribe(info: object = {}, body: object = {}): Promise<number> {
    const id = this.frameworkId === undefined ? {} : { framework_id: { value: this.frameworkId } };
    const framework_info = { user: 'root', name: 'client', failover_timeout: 3_600, ...info };
    const call = JSON.stringify({ type: 'SUBSCRIBE', ...id, subscribe: { framework_info }, ...body });
    this.ended = false;
    return new Promise((resolve, reject) => {
      const headers = { 'content-type': 'application/json', accept: 'application/json' };
      this.#request = request(this.#url, { method: 'POST', headers, agent: false }, (response) => {
        this.streamId = response.headers['mesos-stream-id'] as string;
        if (response.statusCode === 200) this.#read(response);
        else response.resume();
        resolve(response.statusCode ?? 0);
      });
      this.#request.on('error', (error) => (this.streamId === undefined ? reject(error) : this.#end()));
      this.#request.end(call);
    });
  }

  /** The status of the answer to a call. */
  async call(type: string, body: object = {}, headers: Record<string, string> = {}): Promise<number> {
    const answer = await fetch(this.#url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'mesos-stream-id': this.streamId ?? '', ...headers },
      body: JSON.stringify({ type, framework_id: { value: this.frameworkId }, ...body }),
    });
    await answer.text();
    return answer.status;
  }

  accept(offers: readonly Offer[], operations: readonly object[], refuse_seconds = 1): Promise<number> {
    return this.call('ACCEPT', {
      accept: { offer_ids: offers.map(({ id }) => id), operations, filters: { refuse_seconds } },
    });
  }

  /** Drops the connection, as a scheduler that dies does. */
  disconnect(): void {
    this.#request?.destroy();
    this.#end();
  }

  of(type: string): MesosEvent[] {
    return this.events.filter((event) => event.type === type);
  }

  get offers(): Offer[] {
    const rescinded = new Set(
      this.of('RESCIND').map(({ rescind }) => (rescind as { offer_id: { value: string } }).offer_id.value),
    );
    return this.of('OFFERS')
      .flatMap(({ offers }) => (offers as { offers: Offer[] }).offers)
      .filter(({ id }) => !rescinded.has(id.value));
  }

  statuses(task: string): Status[] {
    return this.of('UPDATE')
      .map(({ update }) => (update as { status: Status }).status)
      .filter(({ task_id }) => task_id.value === task);
  }

  states(task: string): string[] {
    return this.statuses(task).map(({ state }) => state);
  }

  #read(response: IncomingMessage): void {
    response.on('data', (chunk: Buffer) => {
      this.#buffered = Buffer.concat([this.#buffered, chunk]);
      for (let end = this.#buffered.indexOf(10); end >= 0; end = this.#buffered.indexOf(10)) {
        const length = Number(this.#buffered.subarray(0, end).toString());
        if (this.#buffered.length < end + 1 + length) return;
        const text = this.#buffered.subarray(end + 1, end + 1 + length).toString();
        this.#buffered = this.#buffered.subarray(end + 1 + length);
        this.#take(JSON.parse(text) as MesosEvent);
      }
    });
    response.on('error', () => this.#end());
    response.on('end', () => this.#end());
  }

  #take(event: MesosEvent): void {
    this.events.push(event);
    if (event.type === 'SUBSCRIBED') {
      this.frameworkId = (event.subscribed as { framework_id: { value: string } }).framework_id.value;
    }
    if (event.type !== 'UPDATE' || !this.acknowledges) return;
    const { uuid, task_id, agent_id } = (event.update as { status: Status }).status;
    if (uuid !== undefined) void this.call('ACKNOWLEDGE', { acknowledge: { uuid, task_id, agent_id } }).catch(() => {});
  }

  #end(): void {
    this.ended = true;
    this.#buffered = Buffer.alloc(0);
  }
}

const scalar = (name: string, value: number) => ({ name, type: 'SCALAR', scalar: { value } });

/** A TaskInfo that runs a line of shell. */
export function taskInfo(id: string, offer: Offer, line: string, cpus = 0.5, mem = 64): object {
  return {
    name: id,
    task_id: { value: id },
    agent_id: offer.agent_id,
    resources: [scalar('cpus', cpus), scalar('mem', mem)],
    command: { shell: true, value: line },
  };
}

export function launch(...task_infos: object[]): object {
  return { type: 'LAUNCH', launch: { task_infos } };
}

import type { IncomingMessage, ServerResponse } from 'node:http';
import { NativeListener, readBody, sendJson } from '@cloudos/native-api';
import {
  type ApiAddress,
  type ApiContext,
  type ApiDriver,
  errorCode,
  hasCode,
  messageOf,
  type SharedEvent,
} from '@cloudos/sdk';
import { type Call, type CallOf, parseCall } from './calls.ts';
import type { MesosApiConfig } from './config.ts';
import { FrameworkCalls } from './framework-calls.ts';
import { FrameworkStream } from './framework-stream.ts';
import type { KnownFramework } from './frameworks.ts';
import { healthJson, stateJson, versionJson } from './master-state.ts';
import { policyPrefix } from './policy-events.ts';
import { Scheduler } from './scheduler.ts';

const followed = [`${policyPrefix}*`, 'Workload*', 'Instance*', 'Guest*', 'Node*'];

/** Serves `POST /api/v1/scheduler` (https://mesos.apache.org/documentation/latest/scheduler-http-api/). */
export class MesosApi implements ApiDriver {
  readonly #context: ApiContext;
  readonly #config: MesosApiConfig;
  readonly #listener: NativeListener;
  #scheduler: Scheduler;
  #calls: FrameworkCalls;
  #undo: (() => void)[] = [];

  constructor(context: ApiContext, config: MesosApiConfig) {
    this.#context = context;
    this.#config = config;
    this.#scheduler = new Scheduler(context, config);
    this.#calls = new FrameworkCalls(this.#scheduler, context, config);
    this.#listener = new NativeListener({
      context,
      config,
      handle: (request, response) => this.#serve(request, response),
    });
    context.scope.defer('frameworks', () => this.close());
  }

  async open(): Promise<ApiAddress> {
    if (this.#undo.length === 0) await this.#begin();
    return this.#listener.open();
  }

  async close(): Promise<void> {
    for (const undo of this.#undo.splice(0)) undo();
    for (const { stream } of this.#scheduler.frameworks.values()) stream?.end();
    await this.#listener.close();
  }

  /** Takes in what the log says, then follows it. */
  async #begin(): Promise<void> {
    const { kernel, clock } = this.#context;
    const scheduler = new Scheduler(this.#context, this.#config);
    this.#scheduler = scheduler;
    this.#calls = new FrameworkCalls(scheduler, this.#context, this.#config);
    const view = await kernel.view();
    for await (const batch of kernel.log.read({ to: view.position, filter: { types: [`${policyPrefix}*`] } })) {
      for (const event of batch) scheduler.take(event as SharedEvent, false);
    }
    for (const { node, attributes } of view.nodes) scheduler.agents.set(node, { node, attributes });
    scheduler.tasks.load(view);
    const subscription = kernel.log.subscribe(view.position + 1, { types: followed }).subscribe({
      next: (events) => {
        for (const event of events) scheduler.take(event as SharedEvent, true);
      },
      error: (error) => this.#context.fail(error),
    });
    this.#undo.push(() => subscription.unsubscribe());
    this.#repeat(this.#config.updateRetryMs, () => scheduler.retry());
    const cancel = clock.after(this.#config.resubscribeGraceMs, () => void this.#missFrameworks());
    this.#undo.push(cancel);
  }

  /** Frameworks that did not come back after a start count as disconnected from now on. */
  async #missFrameworks(): Promise<void> {
    for (const framework of this.#scheduler.frameworks.values()) {
      if (framework.active && !framework.connected) await this.#calls.disconnect(framework);
    }
    await this.#scheduler.clearForgotten();
  }

  #repeat(intervalMs: number, work: () => void): void {
    let cancel = () => {};
    const again = () => {
      cancel = this.#context.clock.after(intervalMs, () => {
        work();
        again();
      });
    };
    again();
    this.#undo.push(() => cancel());
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? '').split('?')[0];
    if (path === '/api/v1/scheduler') return this.#call(request, response);
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return refuse(response, 404, `nothing is at ${path?.slice(0, 200)}`);
    const { kernel } = this.#context;
    switch (path) {
      case '/health':
      case '/master/health':
        return sendJson(response, 200, healthJson());
      case '/version':
        return sendJson(response, 200, versionJson(kernel.status()));
      case '/state':
      case '/master/state':
        return sendJson(response, 200, stateJson(kernel.status(), await kernel.view(), this.#scheduler));
      default:
        return refuse(response, 404, `nothing is at ${path?.slice(0, 200)}`);
    }
  }

  async #call(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { headers, method } = request;
    if (method !== 'POST') return refuse(response, 405, "Expecting one of { 'POST' }");
    if (!(headers['content-type'] ?? '').startsWith('application/json')) {
      return refuse(response, 415, "Expecting 'Content-Type' of application/json");
    }
    const accept = headers.accept ?? '*/*';
    if (!/application\/json|\*\/\*|application\/\*/.test(accept)) {
      return refuse(response, 406, "Expecting 'Accept' to allow application/json");
    }
    let body: string;
    try {
      body = await readBody(request, { maxBytes: this.#config.bodyMaxBytes });
    } catch (error) {
      return refuse(response, hasCode(error, 'REQUEST_TOO_LARGE') ? 413 : 400, messageOf(error));
    }
    const call = parseCall(body);
    if ('fault' in call) return refuse(response, call.unsupported ? 501 : 400, call.fault);
    if (call.type === 'SUBSCRIBE') return this.#subscribe(call, headers['mesos-stream-id'], request, response);
    const framework = this.#scheduler.frameworks.get(call.framework_id.value);
    const stream = headers['mesos-stream-id'];
    if (!framework?.connected) return refuse(response, 403, 'Framework is not subscribed');
    if (stream === undefined) {
      return refuse(response, 400, "All non-subscribe calls should include the 'Mesos-Stream-Id' header");
    }
    if (stream !== framework.stream?.id) {
      return refuse(response, 400, `the stream ID ${String(stream)} is not that of framework ${framework.id}`);
    }
    try {
      await framework.inTurn(() => this.#carryOut(framework, call));
      response.writeHead(202).end();
    } catch (error) {
      refuse(response, errorCode(error) === 'SLOT_EMPTY' ? 503 : 400, messageOf(error));
    }
  }

  async #subscribe(
    call: CallOf<'SUBSCRIBE'>,
    stream: unknown,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    if (stream !== undefined)
      return refuse(response, 400, "Subscribe calls should not include the 'Mesos-Stream-Id' header");
    const given = call.framework_id ?? call.subscribe.framework_info.id;
    const id = given?.value ?? `fw-${this.#context.newId()}`;
    const connected = [...this.#scheduler.frameworks.values()].filter((each) => each.connected).length;
    if (connected >= this.#config.frameworksMax)
      return refuse(response, 503, `${connected} frameworks are subscribed already`);
    const open = () => new FrameworkStream(this.#context.newId(), response, this.#context.clock, this.#config);
    try {
      const framework = this.#scheduler.framework(id);
      await framework.inTurn(() => this.#calls.subscribe(id, given !== undefined, call, open));
      const { stream: opened } = framework;
      request.socket.once('close', () => {
        opened?.end();
        if (opened && this.#undo.length > 0) void this.#calls.disconnected(framework, opened);
      });
    } catch (error) {
      if (response.headersSent) throw error;
      const code = errorCode(error);
      if (code === 'COMMAND_UNSUPPORTED') return refuse(response, 503, 'the resource manager in charge is not Mesos');
      refuse(response, code === 'SLOT_EMPTY' ? 503 : 403, messageOf(error));
    }
  }

  async #carryOut(framework: KnownFramework, call: Exclude<Call, { type: 'SUBSCRIBE' }>): Promise<void> {
    const calls = this.#calls;
    switch (call.type) {
      case 'TEARDOWN':
        return calls.teardown(framework);
      case 'ACCEPT':
        return calls.accept(framework, call);
      case 'DECLINE':
        return calls.decline(framework, call);
      case 'REVIVE':
        return calls.revive(framework, 'Revive', rolesOf(call.revive));
      case 'SUPPRESS':
        return calls.revive(framework, 'Suppress', rolesOf(call.suppress));
      case 'KILL':
        return calls.kill(framework, call);
      case 'ACKNOWLEDGE':
        return calls.acknowledge(framework, call);
      case 'RECONCILE':
        return calls.reconcile(framework, call);
      case 'ACCEPT_INVERSE_OFFERS':
      case 'DECLINE_INVERSE_OFFERS':
        return; // the agent is drained in time, whatever the framework says
    }
  }
}

function rolesOf({ roles, role }: { roles: readonly string[]; role?: string | undefined }): readonly string[] {
  return role === undefined ? roles : [...roles, role];
}

function refuse(response: ServerResponse, status: number, message: string): void {
  if (response.headersSent || response.destroyed) return;
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(message);
}

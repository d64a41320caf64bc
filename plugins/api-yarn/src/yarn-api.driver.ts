import type { IncomingMessage, ServerResponse } from 'node:http';
import { NativeListener, sendJson } from '@cloudos/native-api';
import { type ApiContext, type ApiDriver, event, hasCode, type NewEvent, type RecordedEvent } from '@cloudos/sdk';
import { applicationInfo, applicationList } from './application-documents.ts';
import { clusterInfo, clusterMetrics } from './cluster-documents.ts';
import { nodeInfo, nodeList } from './node-documents.ts';
import type { YarnApiConfig } from './plugin.ts';
import { ResourceManager } from './resource-manager.ts';
import { schedulerInfo } from './scheduler-documents.ts';

/** How long a request waits until what it asks for has been taken in, milliseconds. */
const levelWaitMs = 5_000;

interface Asked {
  readonly manager: ResourceManager;
  readonly context: ApiContext;
  readonly rest: readonly string[];
  readonly query: URLSearchParams;
}

/** What a path is answered with; undefined: there is no such thing. */
type Answer = (asked: Asked) => unknown;

/**
 * `/ws/v1/cluster` of the ResourceManager, read only: info, metrics, scheduler, nodes, apps. Documents are JSON in the
 * shapes of the Hadoop documentation, "ResourceManager REST API's"; failures are `RemoteException` documents.
 */
export class YarnApi implements ApiDriver {
  readonly #context: ApiContext;
  readonly #config: YarnApiConfig;
  readonly #listener: NativeListener;
  #manager: ResourceManager | undefined;
  /** Of whom the queues are: another one in charge has others. */
  #made: { readonly plugin: string; readonly config: unknown } | undefined;
  #unsubscribe: () => void = () => {};
  #levelled: (() => void)[] = [];

  constructor(context: ApiContext, config: YarnApiConfig) {
    this.#context = context;
    this.#config = config;
    this.#listener = new NativeListener({
      context,
      config,
      handle: (request, response) => this.#serve(request, response),
    });
    context.scope.defer('events of api-yarn', () => this.#unsubscribe());
  }

  async open() {
    await this.#follow();
    return this.#listener.open();
  }

  close() {
    this.#unsubscribe();
    this.#manager = undefined;
    return this.#listener.close();
  }

  /** Takes in the log from its beginning; where that was trimmed away, what the cluster is now, then what follows. */
  async #follow(): Promise<void> {
    this.#unsubscribe();
    const { kernel } = this.#context;
    const made = kernel.policy('resources');
    const settings = made.plugin === 'resources-yarn' ? made.config : {};
    const manager = new ResourceManager(settings, this.#config.completedApplicationsMax);
    try {
      for await (const batch of kernel.log.read({ to: kernel.log.head() })) manager.take(batch);
    } catch (error) {
      if (!hasCode(error, 'LOG_TRIMMED')) throw error;
      const { position } = await this.#present(manager);
      manager.position = position;
    }
    this.#manager = manager;
    this.#made = made;
    const subscription = kernel.log.subscribe(manager.position + 1).subscribe({
      next: (batch) => this.#take(manager, batch),
      error: (error) => this.#context.fail(error),
    });
    this.#unsubscribe = () => subscription.unsubscribe();
  }

  #take(manager: ResourceManager, batch: readonly RecordedEvent[]): void {
    manager.take(batch);
    for (const levelled of this.#levelled.splice(0)) levelled();
  }

  /** The cluster as it is, as if it had just come to be so. What owners and users are is not told by a view. */
  async #present(manager: ResourceManager): Promise<{ readonly position: number }> {
    const { position, time, nodes, instances } = await this.#context.kernel.view();
    const events: NewEvent[] = [];
    for (const { node, capacity, attributes, runtimes, state } of nodes) {
      if (state === 'left') continue;
      events.push(event('NodeJoined', { node, capacity, attributes: { ...attributes }, runtimes }));
      if (state === 'cordoned') events.push(event('NodeCordoned', { node, reason: '' }));
      if (state === 'lost') events.push(event('NodeLost', { node, reason: '' }));
    }
    for (const { instance, workload, revision, requests, priority, node } of instances) {
      events.push(event('InstanceRequested', { instance, workload, revision, requests, priority }));
      if (node !== undefined) events.push(event('InstancePlaced', { instance, node }));
    }
    const meta = { producer: { plugin: 'api-yarn', generation: 1 }, schema: 1 };
    const id = '00000000-0000-7000-8000-000000000000';
    const present = events.map(({ type, data }, at): RecordedEvent => {
      return { position: at, stream: 'present', revision: at, id, type, time, data, meta };
    });
    manager.take(present);
    return { position };
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method !== 'GET') {
      return sendJson(response, 405, remoteException('MethodNotAllowed', `${request.method}: only GET is served`));
    }
    const url = parse(request.url ?? '/');
    const found = url && route(url.pathname);
    if (!url || !found || !this.#manager) {
      return sendJson(response, 404, remoteException('NotFoundException', `there is no ${request.url?.slice(0, 200)}`));
    }
    const { plugin, config } = this.#context.kernel.policy('resources');
    if (plugin !== this.#made?.plugin || config !== this.#made.config) await this.#follow();
    await this.#level(this.#manager);
    const [answer, rest] = found;
    const names = rest.map(decodeURIComponent);
    const document = answer({ manager: this.#manager, context: this.#context, rest: names, query: url.searchParams });
    if (document !== undefined) return sendJson(response, 200, document);
    sendJson(response, 404, remoteException('NotFoundException', `${url.pathname} is not known`));
  }

  /** Waits until everything that was in the log when the request came is taken in. */
  async #level(manager: ResourceManager): Promise<void> {
    const { kernel, clock } = this.#context;
    const head = kernel.log.head();
    const until = clock.now() + levelWaitMs;
    while (manager.position < head && this.#manager === manager && clock.now() < until) {
      await new Promise<void>((resolve) => {
        const cancel = clock.after(until - clock.now(), resolve);
        this.#levelled.push(() => {
          cancel();
          resolve();
        });
      });
    }
  }
}

/** The answer that a path stands for, and the rest of the path: at most one name. */
function route(pathname: string): [answer: Answer, rest: readonly string[]] | undefined {
  const [ws, version, cluster, what = 'info', ...rest] = pathname.split('/').filter((part) => part !== '');
  if (ws !== 'ws' || version !== 'v1' || cluster !== 'cluster' || rest.length > 1) return undefined;
  const answer = Object.hasOwn(answers, what) ? answers[what] : undefined;
  return answer && (rest.length === 0 || what === 'nodes' || what === 'apps') ? [answer, rest] : undefined;
}

const answers: Readonly<Record<string, Answer>> = {
  info: ({ manager, context }) => clusterInfo(manager, context.kernel.status()),
  metrics: ({ manager }) => clusterMetrics(manager),
  scheduler: ({ manager }) => schedulerInfo(manager.state),
  nodes({ manager, rest: [id], query }) {
    if (id === undefined) return nodeList(manager, query);
    const slot = manager.state.cluster.nodes.slotOf(id.replace(/:\d+$/, ''));
    return slot < 0 ? undefined : { node: nodeInfo(manager, slot) };
  },
  apps({ manager, context, rest: [id], query }) {
    const now = context.clock.now();
    if (id === undefined) return applicationList(manager, query, now);
    const record = manager.applications.get(id);
    return record && { app: applicationInfo(manager, record, now) };
  },
};

function parse(target: string): URL | undefined {
  try {
    const url = new URL(target, 'http://localhost');
    decodeURIComponent(url.pathname);
    return url;
  } catch {
    return undefined;
  }
}

/** How a ResourceManager tells of a failure. */
function remoteException(exception: string, message: string) {
  return { RemoteException: { exception, message, javaClassName: `org.apache.hadoop.yarn.webapp.${exception}` } };
}

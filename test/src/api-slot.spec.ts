import { apiConformance } from '@cloudos/conformance';
import type { Kernel } from '@cloudos/kernel';
import { type ListenConfig, listenConfig, NativeListener, sendJson } from '@cloudos/native-api';
import { type AnyPlugin, type ApiContext, type ApiDriver, apiVersion, definePlugin } from '@cloudos/sdk';
import { afterEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { bootSimulated, everything, type StackOptions, sharedMemoryLog } from './support/simulated-stack.ts';

/** Answers with its name, the head of the log and the types of events that it has followed; PUT scales the workload. */
class ToyApi implements ApiDriver {
  readonly #listener: NativeListener;

  constructor(name: string, context: ApiContext, config: ListenConfig) {
    const { kernel, scope } = context;
    const followed: string[] = [];
    const subscription = kernel.log
      .subscribe(0, { types: ['Instance*'] })
      .subscribe((events) => followed.push(...events.map(({ type }) => type)));
    scope.defer('subscription', () => subscription.unsubscribe());
    this.#listener = new NativeListener({
      context,
      config,
      handle: async (request, response) => {
        if (request.url === '/fail') context.fail(new Error('the toy broke'));
        else if (request.url !== '/') return sendJson(response, 404, {});
        if (request.method === 'PUT') {
          await kernel.command({ slot: 'orchestrator', command: { type: 'Scale', workload: 'toy', replicas: 2 } });
        }
        const { position, instances } = await kernel.view();
        sendJson(response, 200, { name, position, instances: instances.length, followed });
      },
    });
  }

  open() {
    return this.#listener.open();
  }

  close() {
    return this.#listener.close();
  }
}

const toyApi = (name: string) =>
  definePlugin({
    name,
    slot: 'api',
    apiVersion,
    description: 'for tests',
    config: z.strictObject({
      ...listenConfig({ port: 0, token: 'none' }),
      breaks: z.enum(['create', 'open', 'never']).default('never'),
    }),
    create(context, { breaks, ...config }) {
      if (breaks === 'create') throw new Error(`${name} cannot be made`);
      const api = new ToyApi(name, context, config);
      if (breaks === 'open') api.open = () => Promise.reject(new Error(`${name} cannot listen`));
      return api;
    },
  });
const [one, two] = [toyApi('api-one'), toyApi('api-two')];

apiConformance(one, { path: '/' });

const running: Kernel[] = [];
afterEach(async () => {
  for (const kernel of running.splice(0)) await kernel.stop();
});
const limits = { slots: { restartDelayMs: 5, restartsMax: 2 } };
async function boot(options: StackOptions & { readonly logPlugin: AnyPlugin }): Promise<Kernel> {
  const kernel = await bootSimulated({ limits, given: [one, two], ...options });
  running.push(kernel);
  return kernel;
}
const api = (kernel: Kernel, plugin = 'api-one') =>
  kernel.plugins().find((view) => view.slot === 'api' && view.plugin === plugin);
const ask = async (url: string | undefined, init: RequestInit = {}) =>
  (await fetch(url ?? '', init)).json() as Promise<{ name: string; instances: number; followed: string[] }>;
const portOf = (url: string | undefined) => Number(new URL(url ?? '').port);

describe('the api slot', () => {
  it('gives its plugins the log, the view and the policies, and their address to whoever asks', async () => {
    const kernel = await boot({ logPlugin: sharedMemoryLog().plugin, world: 'api', apis: ['api-one', 'api-two'] });
    const { url } = api(kernel) ?? {};
    expect(await ask(url)).toMatchObject({ name: 'api-one', instances: 0 });
    expect(await ask(api(kernel, 'api-two')?.url)).toMatchObject({ name: 'api-two' });
    await fetch(url ?? '', { method: 'PUT' });
    await expect.poll(async () => (await ask(url)).followed).toContain('InstancePlaced');
    expect(await ask(url)).toMatchObject({ instances: 2 });
    await kernel.stop();
    await expect(fetch(url ?? '')).rejects.toThrow();
  });

  it('contains a plugin that cannot be made: the other one serves, the stack runs', async () => {
    const broken = { plugin: 'api-two', config: { breaks: 'create' } };
    const kernel = await boot({ logPlugin: sharedMemoryLog().plugin, world: 'broken api', apis: [broken, 'api-one'] });
    expect(await ask(api(kernel)?.url)).toMatchObject({ name: 'api-one' });
    await expect
      .poll(() => api(kernel, 'api-two'))
      .toMatchObject({ state: 'failed', reason: expect.stringContaining('cannot be made') });
  });

  it('restarts one that reports a failure', async () => {
    const kernel = await boot({ logPlugin: sharedMemoryLog().plugin, world: 'failing api', apis: ['api-one'] });
    await fetch(`${api(kernel)?.url}/fail`).catch(() => {});
    await expect.poll(() => api(kernel)).toMatchObject({ state: 'active', generation: 2 });
    expect(await ask(api(kernel)?.url)).toMatchObject({ name: 'api-one' });
  });

  it('swaps a plugin on the same port, and a restart keeps the swap', async () => {
    const { log, plugin } = sharedMemoryLog();
    const options = { logPlugin: plugin, world: 'api swap', apis: ['api-one'] };
    const kernel = await boot(options);
    const { url } = api(kernel) ?? {};
    const result = await kernel.swap({ slot: 'api', plugin: 'api-two', config: { port: portOf(url) } });
    expect(result).toMatchObject({ slot: 'api', from: 'api-one', to: 'api-two' });
    expect(await ask(url)).toMatchObject({ name: 'api-two' });
    await kernel.stop();
    const second = await boot(options);
    expect(second.plugins().filter(({ slot }) => slot === 'api')).toMatchObject([{ plugin: 'api-two', url }]);
    expect((await everything(log)).filter(({ type }) => type.startsWith('Swap'))).toMatchObject([
      { type: 'SwapStarted' },
      { type: 'SwapCompleted', data: { slot: 'api', from: 'api-one', to: 'api-two' } },
    ]);
  });

  it.each(['create', 'open'])('leaves the predecessor serving when the successor fails to %s', async (breaks) => {
    const kernel = await boot({ logPlugin: sharedMemoryLog().plugin, world: `api ${breaks}`, apis: ['api-one'] });
    const { url } = api(kernel) ?? {};
    await expect(kernel.swap({ slot: 'api', plugin: 'api-two', config: { breaks } })).rejects.toMatchObject({
      code: 'SWAP_ABORTED',
    });
    expect(await ask(api(kernel)?.url)).toMatchObject({ name: 'api-one' });
    expect(api(kernel)?.state).toBe('active');
    expect(url).toBeDefined();
  });

  it('asks which one is meant where several could be, and refuses one twice', async () => {
    const { plugin } = sharedMemoryLog();
    const kernel = await boot({ logPlugin: plugin, world: 'apis', apis: ['api-one', 'api-two'] });
    const swap = { slot: 'api', plugin: 'api-two', replaces: 'api-one' };
    await expect(kernel.swap(swap)).rejects.toMatchObject({ code: 'COMMAND_INVALID' });
    const twice = boot({ logPlugin: sharedMemoryLog().plugin, world: 'twice', apis: ['api-one', 'api-one'] });
    await expect(twice).rejects.toMatchObject({ code: 'SLOT_CONFLICT' });
  });
});

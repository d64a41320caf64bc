import { createServer } from 'node:net';
import type { ApiDriver, KernelAccess, PluginDefinition } from '@cloudos/sdk';
import { afterEach, describe, expect, test } from 'vitest';
import { idleKernel } from './idle-kernel.ts';
import { pluginContext, type TestPluginContext } from './plugin-context.ts';

export interface ApiConformanceOptions {
  /** Configuration as a stack file would give it. `port` is set by the suite. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** The kernel behind it. Default: one in which nothing happens and that refuses every command. */
  readonly kernel?: () => KernelAccess;
  /** A path that is answered with status 200 to a plain GET, without a token. */
  readonly path?: string;
}

/**
 * What every `api` plugin promises, tested on the plugin as it is. Call it once in a spec file. The plugin's
 * configuration takes `port`, the port that it listens on at loopback; 0 is any free one.
 */
export function apiConformance<Config>(
  plugin: PluginDefinition<'api', Config>,
  options: ApiConformanceOptions = {},
): void {
  describe(`api conformance of ${plugin.name}`, () => {
    const contexts: TestPluginContext[] = [];
    afterEach(async () => {
      for (const { scope } of contexts.splice(0)) await scope.close();
    });
    const make = async (port: number): Promise<{ driver: ApiDriver; context: TestPluginContext }> => {
      const context = await pluginContext();
      contexts.push(context);
      const config = plugin.config.parse({ ...options.config, port });
      const driver = await plugin.create({ ...context, kernel: (options.kernel ?? idleKernel)() }, config);
      return { driver, context };
    };
    const answers = (url: string, path = options.path ?? '/') =>
      fetch(`${url}${path}`, { signal: AbortSignal.timeout(10_000) }).then(
        ({ status }) => status,
        () => undefined,
      );

    test('it listens on loopback when it is opened, not before', async () => {
      const port = await freePort();
      const { driver } = await make(port);
      expect(await answers(`http://127.0.0.1:${port}`)).toBeUndefined();
      const { url } = await driver.open();
      expect(new URL(url)).toMatchObject({ hostname: '127.0.0.1', port: String(port) });
      const status = await answers(url);
      if (options.path === undefined) expect(status).toBeGreaterThan(0);
      else expect(status).toBe(200);
    });
    test('port 0 is any free port, and the address says which', async () => {
      const { driver } = await make(0);
      const { url } = await driver.open();
      expect(Number(new URL(url).port)).toBeGreaterThan(0);
      expect(await answers(url)).toBeGreaterThan(0);
    });
    test('a port that another holds is named', async () => {
      const first = await make(0);
      const { url } = await first.driver.open();
      const second = await make(Number(new URL(url).port));
      await expect(second.driver.open()).rejects.toMatchObject({
        code: 'PORT_IN_USE',
        message: expect.stringContaining(new URL(url).port),
      });
    });
    test('what it does not know is answered with a client error, and it goes on serving', async () => {
      const { driver } = await make(0);
      const { url } = await driver.open();
      for (const path of ['/nowhere/at/all', '/%ff%00', `/${'x'.repeat(4_000)}`]) {
        const status = await answers(url, path);
        expect(status, path).toBeGreaterThanOrEqual(300);
        expect(status, path).toBeLessThan(500);
      }
      const malformed = await fetch(url, { method: 'POST', body: '{"half":', signal: AbortSignal.timeout(10_000) });
      expect(malformed.status).toBeLessThan(500);
      expect(await answers(url)).toBeGreaterThan(0);
    });
    test('closed, it gives its port to a successor, and takes it back', async () => {
      const port = await freePort();
      const [first, second] = [await make(port), await make(port)];
      const { url } = await first.driver.open();
      await first.driver.close();
      await first.driver.close();
      expect(await answers(url)).toBeUndefined();
      expect(await second.driver.open()).toEqual({ url });
      await second.driver.close();
      expect(await first.driver.open()).toEqual({ url });
      expect(await answers(url)).toBeGreaterThan(0);
    });
    test('closing its scope frees the port, though clients hold connections', async () => {
      const { driver, context } = await make(0);
      const { url } = await driver.open();
      expect(await answers(url)).toBeGreaterThan(0); // fetch keeps the connection
      await context.scope.close();
      expect(context.scope.open()).toEqual([]);
      expect(await answers(url)).toBeUndefined();
      const { driver: successor } = await make(Number(new URL(url).port));
      await expect(successor.open()).resolves.toEqual({ url });
    });
    test('it reports no failure while nothing is amiss', async () => {
      const { driver, context } = await make(0);
      const { url } = await driver.open();
      await Promise.all(Array.from({ length: 20 }, () => answers(url)));
      await driver.close();
      expect(context.failures).toEqual([]);
    });
  });
}

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('the system gave no port');
  return address.port;
}

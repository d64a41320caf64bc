import { CloudosError, definePlugin, type HostDriver, silentLogger, systemClock } from '@cloudos/sdk';
import { NEVER } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { givenPlugins } from './plugin-loader.ts';
import { Slot } from './slot.ts';
import type { SlotFailure, SlotLimits } from './slot-options.ts';

const host: HostDriver = { inventory: () => NEVER, checks: async () => [] };

function plugin(create: () => HostDriver | Promise<HostDriver>, name = 'host-test') {
  const config = z.object({ cores: z.int().positive().default(2) });
  return definePlugin({ name, slot: 'host', apiVersion: 1, description: 'for tests', config, create });
}

async function slotOf(
  definition: ReturnType<typeof plugin>,
  limits: Partial<SlotLimits> = {},
  config: unknown = {},
  use = () => {},
) {
  const seen = { activated: [] as number[], deactivated: [] as number[], failures: [] as SlotFailure[] };
  const loaded = await givenPlugins([definition]).load(definition.name);
  const slot = new Slot<'host'>(
    { plugin: loaded, config },
    {
      slot: 'host',
      dataDir: (name) => name,
      stateDir: 'state',
      clock: systemClock,
      newId: () => 'id',
      logger: silentLogger,
      limits: { restartDelayMs: 1, ...limits },
      hooks: {
        activated: ({ generation }) => {
          use();
          seen.activated.push(generation);
        },
        deactivated: ({ generation }) => void seen.deactivated.push(generation),
        failed: (failure) => void seen.failures.push(failure),
      },
    },
  );
  return { slot, seen, loaded };
}

const until = async (condition: () => boolean) => expect.poll(condition, { interval: 2 }).toBe(true);

describe('a slot', () => {
  it('activates its plugin with the defaults of its configuration', async () => {
    const { slot, seen } = await slotOf(plugin(() => host));
    await slot.start();
    expect(slot.view()).toMatchObject({ state: 'active', generation: 1, attempt: 0 });
    expect(slot.active?.spec.config).toEqual({ cores: 2 });
    expect(seen.activated).toEqual([1]);
    await slot.close();
  });

  it('refuses a configuration before anything starts, naming path, given and expected', async () => {
    await expect(
      slotOf(
        plugin(() => host),
        {},
        { cores: 'many' },
      ),
    ).rejects.toMatchObject({
      code: 'PLUGIN_CONFIG_INVALID',
      message: expect.stringMatching(/cores.*number.*"many"/),
    });
  });

  it('restarts a plugin that throws, with backoff, and tells each failure', async () => {
    let tries = 0;
    const { slot, seen } = await slotOf(
      plugin(() => {
        if (++tries < 3) throw new Error(`no luck ${tries}`);
        return host;
      }),
    );
    await slot.start();
    await until(() => slot.view().state === 'active');
    expect(seen.failures.map(({ error, attempt }) => [error.message, attempt])).toEqual([
      ['host-test: create: no luck 1', 1],
      ['host-test: create: no luck 2', 2],
    ]);
    await slot.close();
  });

  it('gives up after the bounded number of restarts, and says why', async () => {
    const { slot, seen } = await slotOf(
      plugin(() => Promise.reject(new Error('broken for good'))),
      { restartsMax: 2 },
    );
    await slot.start();
    await until(() => seen.failures.length === 3);
    expect(seen.failures.at(-1)?.restartAt).toBeUndefined();
    expect(slot.view()).toMatchObject({ state: 'failed', code: 'PLUGIN_FAILED' });
    await expect(slot.call('checks', (driver) => driver.checks())).rejects.toMatchObject({
      code: 'SLOT_EMPTY',
      message: expect.stringContaining('broken for good'),
    });
  });

  it('takes a plugin down that does not answer, and starts it anew', async () => {
    const { slot, seen } = await slotOf(plugin(() => host));
    await slot.start();
    await expect(slot.call('checks', () => new Promise(() => {}), 10)).rejects.toMatchObject({
      code: 'PLUGIN_TIMEOUT',
      origin: { plugin: 'host-test', generation: 1 },
    });
    await until(() => slot.active?.generation === 2);
    expect(seen.deactivated).toEqual([1]);
    await slot.close();
  });

  it('leaves a plugin in place that fails in the ordinary way', async () => {
    const { slot } = await slotOf(plugin(() => host));
    await slot.start();
    const failing = slot.call('x', () => Promise.reject(new CloudosError('GUEST_NOT_FOUND', 'no guest a')));
    await expect(failing).rejects.toMatchObject({ code: 'GUEST_NOT_FOUND' });
    expect(slot.active?.generation).toBe(1);
    await slot.close();
  });

  it('keeps the predecessor when the hand-over fails', async () => {
    const { slot, loaded } = await slotOf(plugin(() => host));
    await slot.start();
    const successor = await slot.prepare({ plugin: loaded, config: {} });
    await expect(slot.replace(successor, () => Promise.reject(new Error('cannot adopt')))).rejects.toThrow(
      'cannot adopt',
    );
    expect(slot.active?.generation).toBe(1);
    expect(successor.scope.closed).toBe(true);
    await slot.close();
  });

  it('waits for calls under way before it hands over, and holds back new ones', async () => {
    const { slot, loaded } = await slotOf(plugin(() => host));
    await slot.start();
    const order: string[] = [];
    let finish = () => {};
    let begun = false;
    const first = slot.call('first', () => {
      begun = true;
      return new Promise<void>((resolve) => {
        finish = () => {
          order.push('first');
          resolve();
        };
      });
    });
    await until(() => begun);
    const successor = await slot.prepare({ plugin: loaded, config: {} });
    const replaced = slot.replace(successor, async () => void order.push('hand-over'));
    const second = slot.call('second', () => void order.push('second'));
    await Promise.resolve();
    finish();
    await Promise.all([first, replaced, second]);
    expect(order).toEqual(['first', 'hand-over', 'second']);
    expect(slot.active?.generation).toBe(2);
    await slot.close();
  });

  it('lets a restart that is under way end before it hands over', async () => {
    let tries = 0;
    let finish = () => {};
    const { slot, seen, loaded } = await slotOf(
      plugin(async () => {
        if (++tries === 1) throw new Error('not yet');
        if (tries === 2)
          await new Promise<void>((resolve) => {
            finish = resolve;
          });
        return host;
      }),
    );
    await slot.start();
    await until(() => tries === 2);
    const successor = await slot.prepare({ plugin: loaded, config: {} });
    const replaced = slot.replace(successor, async () => {});
    finish();
    await replaced;
    expect(slot.active).toBe(successor);
    expect(seen.activated.at(-1)).toBe(successor.generation);
    await slot.close();
    expect(successor.scope.closed).toBe(true);
  });

  it('counts a failure that is reported twice once', async () => {
    const { slot, seen } = await slotOf(plugin(() => host));
    await slot.start();
    const { active } = slot;
    await Promise.all([slot.fail(new Error('broken'), active), slot.fail(new Error('broken again'), active)]);
    await until(() => slot.view().state === 'active');
    expect(seen.failures).toHaveLength(1);
    expect(seen.activated).toEqual([1, 2]);
    await slot.close();
  });

  it('does not take down the predecessor when a successor reports a failure', async () => {
    const failing = definePlugin({
      ...plugin(() => host),
      create: ({ fail, generation }) => {
        if (generation > 1) fail(new Error('unfit'));
        return host;
      },
    });
    const { slot, loaded } = await slotOf(failing);
    await slot.start();
    await expect(slot.prepare({ plugin: loaded, config: {} })).rejects.toThrow('unfit');
    expect(slot.view()).toMatchObject({ state: 'active' });
    expect(slot.active?.generation).toBe(1);
    await slot.close();
  });

  it('does not put a successor in charge that has failed since it was made', async () => {
    let report = (_: unknown) => {};
    const late = definePlugin({
      ...plugin(() => host),
      create: ({ fail, generation }) => {
        if (generation > 1) report = fail;
        return host;
      },
    });
    const { slot, loaded } = await slotOf(late);
    await slot.start();
    const successor = await slot.prepare({ plugin: loaded, config: {} });
    report(new Error('fell over'));
    await expect(slot.replace(successor, async () => {})).rejects.toThrow('fell over');
    expect(slot.active?.generation).toBe(1);
    expect(successor.scope.closed).toBe(true);
    await slot.close();
  });

  it('closes for good, also while it is being started', async () => {
    let finish = () => {};
    const { slot, seen } = await slotOf(
      plugin(async () => {
        await new Promise<void>((resolve) => {
          finish = resolve;
        });
        return host;
      }),
    );
    const starting = slot.start();
    await until(() => slot.view().state === 'starting');
    const closing = slot.close();
    finish();
    await Promise.all([starting, closing]);
    expect(seen.activated).toEqual([]);
    expect(slot.view().state).toBe('stopped');
    expect(slot.active).toBeUndefined();
  });

  it('gives up on a provider that is never taken into use, too', async () => {
    const { slot, seen } = await slotOf(
      plugin(() => host),
      { restartsMax: 2 },
      {},
      () => {
        throw new Error('cannot be used');
      },
    );
    await slot.start();
    await until(() => seen.failures.length === 3);
    expect(slot.view()).toMatchObject({ state: 'failed', attempt: 3 });
    expect(seen.failures.at(-1)?.restartAt).toBeUndefined();
  });
});

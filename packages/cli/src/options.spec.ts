import { describe, expect, it } from 'vitest';
import { configOf, durationMs, list, positionOrTime, sinceMs, wholeNumber } from './options.ts';
import { resourceKindOf, splitReference } from './resource-kinds.ts';
import { stateDirOf } from './state-dir.ts';

describe('options', () => {
  it.each([
    ['90', 90_000],
    ['1.5m', 90_000],
    ['500ms', 500],
    ['2h', 7_200_000],
  ])('%s is a time of %i ms', (text, ms) => expect(durationMs(text)).toBe(ms));

  it.each(['', 'soon', '-1s', '5w'])('%j is no time', (text) => expect(() => durationMs(text)).toThrow(/90s/));

  it('takes how long ago, or a point in time', () => {
    expect(sinceMs('5m', 1_000_000)).toBe(700_000);
    expect(sinceMs('90', 1_000_000)).toBe(910_000);
    expect(sinceMs('1d', 1_000_000)).toBe(0);
    expect(sinceMs('2026-01-31T12:00:00.5Z', 0)).toBe(Date.UTC(2026, 0, 31, 12, 0, 0, 500));
    for (const text of ['', '-1m', '5w', 'yesterday', '2026-99-99']) {
      expect(() => sinceMs(text, 0)).toThrow(/how long ago/);
    }
  });

  it('takes a position or a point in time', () => {
    expect(positionOrTime('120')).toEqual({ position: 120 });
    expect(positionOrTime('2026-01-31T12:00Z')).toEqual({ time: Date.UTC(2026, 0, 31, 12) });
    for (const text of ['', '-1', '1.5', 'yesterday', '2026-99-99']) {
      expect(() => positionOrTime(text)).toThrow(/position or a time/);
    }
  });

  it('takes whole numbers within their bounds', () => {
    expect(wholeNumber(0)('0')).toBe(0);
    for (const text of ['-1', '1.5', 'x', '', '11']) expect(() => wholeNumber(0, 10)(text)).toThrow(/from 0 to 10/);
  });

  it('reads configuration as pairs with levels, or as JSON', () => {
    expect(configOf([])).toBeUndefined();
    expect(configOf(['{"a": [1]}'])).toEqual({ a: [1] });
    expect(configOf(['a.b=1', 'a.c=x=y', 'd=true', 'e='])).toEqual({ a: { b: 1, c: 'x=y' }, d: true, e: '' });
    expect(() => configOf(['nothing'])).toThrow(/key=value/);
    expect(() => configOf(['{broken'])).toThrow(/JSON/);
  });

  it('lets no pair reach the prototype of all objects', () => {
    configOf(['__proto__.polluted=1', 'constructor.prototype.polluted=1']);
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });

  it('joins lists given several times', () => expect(list('c,d', list('a,,b'))).toEqual(['a', 'b', 'c', 'd']));
});

describe('names', () => {
  it('knows kinds by the names people use', () => {
    expect([resourceKindOf('po'), resourceKindOf('Deployment'), resourceKindOf('svc')]).toEqual([
      'instances',
      'workloads',
      'services',
    ]);
    expect(() => resourceKindOf('unicorn')).toThrow(/nodes, instances/);
  });

  it('tells a kind from a namespace', () => {
    expect(splitReference('deployment.apps/web')).toEqual({ kind: 'deployment.apps', name: 'web' });
    expect(splitReference('default/web')).toEqual({ name: 'default/web' });
    expect(splitReference('web')).toEqual({ name: 'web' });
  });
});

describe('the state directory', () => {
  const at = (env: NodeJS.ProcessEnv, stateDir?: string) =>
    stateDirOf({ globals: () => (stateDir === undefined ? {} : { stateDir }), env, cwd: '/here' });

  it('is the one given, else that of the environment, else by user', () => {
    expect(at({ CLOUDOS_HOME: '/env' }, 'given')).toBe('/here/given');
    expect(at({ CLOUDOS_HOME: '/env' })).toBe('/env');
    const root = process.getuid?.() === 0;
    expect(at({ XDG_STATE_HOME: '/xdg', CLOUDOS_HOME: '' })).toBe(root ? '/var/lib/cloudos' : '/xdg/cloudos');
    expect(at({ HOME: '/users/me' })).toBe(root ? '/var/lib/cloudos' : '/users/me/.local/state/cloudos');
  });
});

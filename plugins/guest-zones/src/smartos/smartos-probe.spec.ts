import { describe, expect, test } from 'vitest';
import { type Exchange, ExchangePlayer } from './exchange-player.fixture.ts';
import { smartosConfig } from './smartos-config.ts';
import { chooseDriver, type Machine, probeSmartos } from './smartos-probe.ts';

const smartos: Machine = { platform: 'sunos', root: true, version: 'joyent_20260305T000552Z', exists: () => true };
const config = smartosConfig.parse({ network: { nicTag: 'internal0', subnet: '10.88.0.0/24' } });
const player = new ExchangePlayer();

describe('whether zones can be had from SmartOS', () => {
  const features = {
    driver: 'smartos',
    tty: false,
    pause: false,
    memoryLimit: false,
    guestNetwork: true,
    snapshot: true,
  };

  test('is so on a machine that has it', async () => {
    player.expect({ argv: ['/usr/bin/zonename'], stdout: 'global\n' }, { argv: ['/usr/sbin/vmadm', 'lookup'] });
    const print = await probeSmartos(smartos, player, config);
    expect(print).toMatchObject({ available: true, runtime: 'zones', version: smartos.version, features });
    expect(print.available && print.warnings.map(({ reason }) => reason)).toEqual([
      expect.stringContaining('nothing is killed'),
      expect.stringContaining('host:'),
    ]);
  });

  test.each<[string, Partial<Machine>, string, readonly Exchange[]]>([
    ['Linux', { platform: 'linux' }, 'needs SmartOS, and this is linux', []],
    ['another illumos', { exists: (path) => !path.includes('vmadm') }, '/usr/sbin/vmadm', []],
    ['an ordinary user', { root: false }, 'root', []],
    ['a zone', {}, 'global zone', [{ argv: ['/usr/bin/zonename'], stdout: 'b6c3fdc0\n' }]],
    [
      'a machine whose vminfod is down',
      {},
      'timed out',
      [
        { argv: ['/usr/bin/zonename'], stdout: 'global\n' },
        { argv: ['/usr/sbin/vmadm', 'lookup'], exitCode: 1, stderr: 'connection to vminfod timed out\n' },
      ],
    ],
  ])('is not so on %s, which says what is missing', async (_, machine, reason, exchanges) => {
    player.expect(...exchanges);
    expect(await probeSmartos({ ...smartos, ...machine }, player, config)).toMatchObject({
      available: false,
      runtime: 'zones',
      reason: expect.stringContaining(reason),
      remedy: expect.stringMatching(/./),
    });
    player.done();
  });

  test.each<['auto' | 'linux' | 'smartos', Partial<Machine>, 'linux' | 'smartos']>([
    ['auto', {}, 'smartos'],
    ['auto', { platform: 'linux' }, 'linux'],
    ['auto', { exists: () => false }, 'linux'],
    ['linux', {}, 'linux'],
    ['smartos', { platform: 'linux' }, 'smartos'],
  ])('%s on %j chooses the driver %s', (asked, machine, chosen) => {
    expect(chooseDriver(asked, { ...smartos, ...machine })).toBe(chosen);
  });
});

import { describe, expect, it } from 'vitest';
import { templateOfZone } from './zone-json.ts';
import { liveProperties, updateOfZone } from './zone-update.ts';

const zone = templateOfZone({
  alias: 'db',
  cpu_cap: 50,
  max_physical_memory: 64,
  max_lwps: 40,
  quota: 0.5,
  cpu_shares: 100,
  tags: { tier: 'back', spare: true },
  internal_metadata: { 'docker:entrypoint': '["sleep","1000"]' },
});

describe("the update of a zone's JSON", () => {
  it('changes what is given, and names it; the rest stays', () => {
    const { template, changed } = updateOfZone(zone, { cpu_cap: 150, max_physical_memory: 64, max_lwps: null });
    expect(changed).toEqual(['cpu_cap', 'max_lwps']);
    const amounts = { cpuMillis: 1500, memoryBytes: 64 * 2 ** 20, diskBytes: 2 ** 29, pids: 0 };
    expect(template).toEqual({ ...zone, limits: amounts, requests: amounts });
    expect(changed.every((property) => liveProperties.includes(property))).toBe(true);
    expect(updateOfZone(zone, {})).toEqual({ template: zone, changed: [] });
    expect(updateOfZone(zone, { cpu_shares: 200 })).toMatchObject({
      template: { options: { cpu_shares: 200, brand: 'sparse' } },
      changed: ['cpu_shares'],
    });
  });

  it('takes what a running zone cannot, and says that it is not live', () => {
    const update = {
      quota: 1,
      hostname: 'other',
      autoboot: false,
      set_tags: { tier: 'front', alias: 'x' },
      remove_tags: ['spare'],
      set_internal_metadata: { 'docker:cmd': '["5"]' },
    };
    const { template, changed } = updateOfZone(zone, update);
    expect(changed).toEqual(Object.keys(update));
    expect(changed.filter((property) => liveProperties.includes(property))).toEqual([]);
    expect(template).toMatchObject({
      hostname: 'other',
      restart: 'never',
      args: ['5'],
      limits: { diskBytes: 2 ** 30 },
    });
    expect(template.labels).toEqual({ alias: 'db', tier: 'front' });
  });

  it.each([
    [{ brand: 'lx' }, 'brand: it says what the root'],
    [{ image_uuid: 'a:1' }, 'image_uuid: the root'],
    [{ alias: 'x' }, 'alias: it is the name of the workload'],
    [{ ram: 5, nics: [] }, 'nics: the address'],
    [{ colour: 1 }, 'colour: no such property'],
    [{ cpu_cap: 0 }, 'cpu_cap'],
    [{ set_internal_metadata: { 'user-script': 'x' } }, 'user-script'],
    [[], 'an object'],
  ])('with %j is refused by name, with the reason', (json, named) => {
    expect(() => updateOfZone(zone, json)).toThrow(named);
  });
});

import { describe, expect, it } from 'vitest';
import { templateOfZone, zoneJsonOf } from './zone-json.ts';

const spec = (template: ReturnType<typeof templateOfZone>) => ({
  instance: 'web-1',
  workload: 'w',
  node: 'n',
  template,
});

describe("a zone's JSON", () => {
  it('is taken as vmadm takes it, and shown as it shows it', () => {
    const template = templateOfZone({
      alias: 'web',
      brand: 'lx',
      image_uuid: 'counter:1',
      cpu_cap: 150,
      max_physical_memory: 256,
      quota: 2,
      max_lwps: 400,
      autoboot: false,
      internal_metadata: { 'docker:cmd': '["-v"]', 'docker:env': '["PORT=80","A=b=c"]' },
      tags: { tier: 'front', spare: true },
    });
    expect(template).toMatchObject({
      image: 'counter:1',
      runtime: 'zones',
      args: ['-v'],
      restart: 'never',
      env: [
        { name: 'PORT', value: '80' },
        { name: 'A', value: 'b=c' },
      ],
      labels: { alias: 'web', tier: 'front', spare: 'true' },
    });
    // The scheduler keeps for a zone what it may use.
    const asked = { cpuMillis: 1500, memoryBytes: 256 * 2 ** 20, diskBytes: 2 * 2 ** 30, pids: 400 };
    expect([template.requests, template.limits]).toEqual([asked, asked]);
    const status = { instance: 'web-1', state: 'running', attempt: 1, runtime: 'zones', handle: {}, pid: 7 } as const;
    expect(zoneJsonOf(spec(template), { ...status, address: { host: '198.18.0.2' } })).toEqual({
      uuid: 'web-1',
      alias: 'web',
      brand: 'lx',
      image_uuid: 'counter:1',
      state: 'running',
      zone_state: 'running',
      pid: 7,
      nics: [{ interface: 'net0', ip: '198.18.0.2' }],
      cpu_cap: 150,
      max_physical_memory: 256,
      quota: 2,
      max_lwps: 400,
      autoboot: false,
    });
  });

  it('of SmartOS itself is a sparse zone', () => {
    expect(templateOfZone({ brand: 'joyent' })).toMatchObject({ image: 'host:', options: { brand: 'sparse' } });
  });

  it.each([
    [{ brand: 'kvm' }, 'brand'],
    [{ brand: 'lx', ram: 512 }, 'ram'],
    [{ quota: 0 }, 'quota'],
    [{ internal_metadata: { 'docker:cmd': '/bin/x' } }, 'docker:cmd'],
  ])('with %j is refused by name', (json, named) => {
    expect(() => templateOfZone(json)).toThrow(named);
  });
});

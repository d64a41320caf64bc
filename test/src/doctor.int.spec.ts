import { rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { guestPlugins } from './support/counter-guests.ts';
import { KernelProcess } from './support/kernel-process.ts';
import { type OtherMachine, onMachine } from './support/other-machine.ts';

interface Check {
  readonly name: string;
  readonly status: string;
  readonly found: string;
  readonly remedy?: string;
}

interface Report {
  readonly nodes: readonly { readonly node: string; readonly checks: readonly Check[] }[];
  readonly unused: readonly { readonly plugin: string; readonly checks: readonly Check[] }[];
}

const stack = {
  name: 'examined',
  log: 'log-memory',
  resources: 'resources-spread',
  orchestrator: 'orchestrator-kubernetes',
};
const node = { name: 'n', host: 'host-simulated', guests: ['guest-simulated'] };
const obstacle = process.getuid?.() === 0 ? undefined : 'needs root: run the tests as root';
const runtimeOf = (plugin: string) => plugin.slice('guest-'.length);

/** The doctor names every guest plugin of the checkout, also for a stack that uses none of them. */
describe('the doctor', () => {
  const kernel = new KernelProcess({ ...stack, nodes: [node] });
  beforeAll(() => kernel.start(), 120_000);
  afterAll(() => kernel.dispose(), 60_000);

  it('says of each whether it could run here, and how to get it', async () => {
    const { code, stdout } = await kernel.run('doctor', '-o', 'json');
    const { nodes, unused } = JSON.parse(stdout) as Report;
    expect(nodes).toMatchObject([{ node: 'n', checks: [{ name: 'host' }, { name: 'runtime simulated' }] }]);
    expect(unused.map(({ plugin }) => plugin)).toEqual(guestPlugins().map((runtime) => `guest-${runtime}`));
    for (const { plugin, checks } of unused) {
      expect([plugin, checks[0]?.name]).toEqual([plugin, `runtime ${runtimeOf(plugin)}`]);
      for (const check of checks) {
        expect(check.found).not.toBe('');
        if (check.status !== 'ok') expect([plugin, check.remedy ?? '']).toEqual([plugin, expect.stringMatching(/\S/)]);
      }
    }
    // What the stack does not use is not missed by it.
    expect(code).toBe(0);
  }, 120_000);

  it('leaves them out where they are not asked for', async () => {
    const { stdout } = await kernel.run('doctor', '--stack-only', '-o', 'json');
    expect((JSON.parse(stdout) as Report).unused).toEqual([]);
  }, 60_000);

  describe.skipIf(obstacle !== undefined)(`of a machine that is not as it should be (${obstacle ?? 'as root'})`, () => {
    const emulated = new KernelProcess({
      ...stack,
      nodes: [{ ...node, guests: [{ plugin: 'guest-unikernel', config: { carrier: 'bare' } }] }],
    });
    afterAll(() => rmSync(emulated.dir, { recursive: true }));

    const examine = async (kernel: KernelProcess, machine: OtherMachine, ...options: readonly string[]) => {
      const command = [...kernel.commandLine('doctor'), '-o', 'json', ...options];
      const { stdout, stderr } = await onMachine(machine, command);
      if (!stdout.startsWith('{')) throw new Error(stderr);
      return JSON.parse(stdout) as Report;
    };
    /** What is said of each guest plugin that is not in the stack, by the name of the check. */
    const findings = ({ unused }: Report) => {
      const all = unused.flatMap(({ checks }) => checks);
      return (name: string) => all.filter((check) => check.name === `runtime ${name}`);
    };

    it('names what each runtime is missing, and the command that installs it', async () => {
      const without = ['setpriv', 'dockerd', 'lxd', 'incusd', 'mksquashfs', 'qemu-img'];
      const of = findings(await examine(kernel, { without }));
      const missing = { status: 'missing' };
      expect(of('zones')).toMatchObject([
        { ...missing, found: 'missing tools: setpriv', remedy: 'apt-get install util-linux' },
      ]);
      expect(of('hyper')).toMatchObject([
        { ...missing, found: 'mksquashfs is missing', remedy: 'apt-get install squashfs-tools' },
      ]);
      expect(of('vm')).toMatchObject([
        { ...missing, found: 'qemu-img is missing', remedy: 'apt-get install qemu-utils' },
      ]);
      expect(of('docker (engine: own)')).toMatchObject([
        { ...missing, found: 'there is no dockerd on this host', remedy: 'apt-get install docker.io' },
      ]);
      expect(of('lxd (daemon: own)')).toMatchObject([
        { ...missing, found: 'there is no lxd on this host', remedy: 'apt-get install lxd' },
      ]);
    }, 120_000);

    it('does so for what runs on QEMU, and for what only a part of a runtime needs', async () => {
      const of = findings(await examine(kernel, { without: ['qemu-system-x86_64', 'mkfs.btrfs'] }));
      const missing = {
        status: 'missing',
        found: 'QEMU is not installed',
        remedy: 'apt-get install qemu-system-x86',
      };
      for (const runtime of ['unikernel', 'hyper', 'vm']) expect(of(runtime)).toMatchObject([missing]);
      for (const runtime of ['docker (engine: own)', 'lxd (daemon: own)']) {
        const [there, warning, ...others] = of(runtime);
        expect(there).toMatchObject({ status: 'ok', found: expect.stringMatching(/^version \d/) });
        expect(warning).toMatchObject({ status: 'warning', remedy: expect.stringContaining('btrfs-progs') });
        expect(others).toEqual([]);
      }
    }, 120_000);

    it('shows the measurement by which KVM is found to be unsound', async () => {
      const real = '/usr/bin/qemu-system-x86_64';
      // What KVM is where each instruction is emulated: guests run as they should, and take many times as long.
      const slow = `case " $* " in
        *" -accel kvm "*) sleep 4; exec ${real} $(echo "$*" | sed 's/-accel kvm/-accel tcg/') ;;
        *) exec ${real} "$@" ;;
      esac`;
      const { nodes } = await examine(emulated, { instead: { 'qemu-system-x86_64': slow } }, '--stack-only');
      const said = nodes[0]?.checks.find(({ found }) => found.includes('KVM'));
      expect(said).toMatchObject({
        name: 'runtime unikernel',
        status: 'warning',
        remedy: expect.stringMatching(/\S/),
      });
      const figures = /KVM is unsound here: .* ended in (\d+) ms under KVM and in (\d+) ms under TCG/.exec(
        said?.found ?? '',
      );
      const [kvmMs = 0, tcgMs = 0] = (figures ?? []).slice(1).map(Number);
      expect(kvmMs).toBeGreaterThan(4_000);
      expect(tcgMs).toBeGreaterThan(0);
      expect(tcgMs).toBeLessThan(kvmMs / 2);
    }, 120_000);
  });
});

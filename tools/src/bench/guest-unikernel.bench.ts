import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import guestUnikernel from '@cloudos/guest-unikernel';
import { type ImageStore, importImage } from '@cloudos/images';
import type { Bench } from './bench.ts';
import { firstAnswer, measureGuests } from './guest-rounds.ts';

const barePort = 18_480;

/** Unikernels in containers of runc and as processes of the host, beside the same one under a bare QEMU. */
const bench: Bench = {
  prefix: 'guest.unikernel',
  async run(options) {
    const { workDir, progress } = options;
    if (process.getuid?.() !== 0) return progress('passed over: guests get addresses from root (run as root)');
    const source = path.dirname(fileURLToPath(import.meta.resolve('@cloudos/guest-unikernel/package.json')));
    execFileSync('make', ['-s', '-C', path.join(source, 'unikernel'), `OUT=${workDir}`]);
    const elf = path.join(workDir, 'counter.elf');
    const prepare = (store: ImageStore) =>
      importImage(store, { from: elf, form: 'unikernel' }, { reference: 'counter:1' });
    const bare = () => bareUnikernel(elf);
    const contained = { name: 'guest.unikernel', config: { carrier: 'runc' }, answerMaxMs: 150 };
    await measureGuests(options, guestUnikernel, { ...contained, prepare, bare });
    const process_ = { name: 'guest.unikernel.bare', config: { carrier: 'bare' } };
    await measureGuests(options, guestUnikernel, { ...process_, prepare, bare });
  },
};
export default bench;

/** QEMU by hand: no driver, no container, no address of the guest's own. */
async function bareUnikernel(elf: string): Promise<number> {
  const begun = performance.now();
  const machine = ['-M', 'microvm,acpi=off,x-option-roms=off,rtc=off', '-accel', 'tcg,tb-size=16', '-m', '16'];
  const rest = ['-nodefaults', '-no-user-config', '-display', 'none', '-kernel', elf, '-append', 'ip=10.0.2.15'];
  const card = [
    '-netdev',
    `user,id=n0,hostfwd=tcp:127.0.0.1:${barePort}-:80`,
    '-device',
    'virtio-net-device,netdev=n0',
  ];
  const modern = ['-global', 'virtio-mmio.force-legacy=false'];
  const child = spawn('qemu-system-x86_64', [...machine, ...rest, ...modern, ...card], { stdio: 'ignore' });
  await firstAnswer('127.0.0.1', barePort);
  const ms = performance.now() - begun;
  child.kill('SIGKILL');
  await once(child, 'exit');
  return ms;
}

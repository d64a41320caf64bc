import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import guestVm from '@cloudos/guest-vm';
import type { ImageStore } from '@cloudos/images';
import { obstacleToTestImages, obstacleToVmImage, vmFiles, vmImage } from '@cloudos/test-images';
import type { Bench } from './bench.ts';
import { firstAnswer, measureGuests, type ToolRound } from './guest-rounds.ts';

const barePort = 18_481;
const memoryMiB = 128;
const diskMiB = 64;

/** A complete Linux that boots, and copies of one that has booted, beside the same disk with the same kernel under a bare QEMU. */
const bench: Bench = {
  prefix: 'guest.vm',
  async run(options) {
    const { progress, workDir } = options;
    if (process.getuid?.() !== 0) return progress('passed over: guests get addresses from root (run as root)');
    const obstacle = obstacleToTestImages() ?? obstacleToVmImage();
    if (obstacle) return progress(`passed over: ${obstacle}`);
    const files = await vmFiles();
    const seed = bareSeed(workDir);
    const subject = {
      config: { memoryBytes: memoryMiB * 2 ** 20, diskBytes: diskMiB * 2 ** 20 },
      image: 'vm:1',
      command: ['/bin/counter'],
      roundsMaxMs: 70_000,
      tools: [{ name: 'bare-qemu', round: () => bareMachine(files, seed, workDir) }],
    };
    const boots = (store: ImageStore) => vmImage(store, { clonable: false });
    await measureGuests(options, guestVm, { ...subject, name: 'guest.vm', prepare: boots });
    const copies = (store: ImageStore) => vmImage(store);
    await measureGuests(options, guestVm, { ...subject, name: 'guest.vm.copy', prepare: copies });
  },
};
export default bench;

/** A seed made by hand: its `start` runs the counter itself. */
function bareSeed(workDir: string): string {
  const content = path.join(workDir, 'bare-seed');
  mkdirSync(content, { recursive: true });
  const subnets = [{ type: 'static', address: '10.0.2.15/24', gateway: '10.0.2.2' }];
  writeFileSync(path.join(content, 'meta-data'), '{\n "local-hostname": "bare"\n}\n');
  writeFileSync(
    path.join(content, 'network-config'),
    JSON.stringify({ version: 1, config: [{ type: 'physical', name: 'eth0', subnets }] }, null, 1),
  );
  writeFileSync(path.join(content, 'start'), '/bin/counter </dev/null >/dev/null 2>&1 &\n');
  const file = path.join(workDir, 'bare-seed.iso');
  execFileSync('genisoimage', ['-quiet', '-volid', 'CIDATA', '-joliet', '-rock', '-o', file, content]);
  return file;
}

/** QEMU by hand: no driver, no address of the guest's own. */
async function bareMachine(files: string, seed: string, workDir: string): Promise<ToolRound> {
  const begun = performance.now();
  const overlay = path.join(workDir, 'bare.qcow2');
  const create = [
    'create',
    '-q',
    '-f',
    'qcow2',
    '-b',
    path.join(files, 'disk.img'),
    '-F',
    'raw',
    overlay,
    `${diskMiB}M`,
  ];
  execFileSync('qemu-img', create);
  const machine = ['-M', 'pc', '-accel', 'tcg,tb-size=64', '-cpu', 'qemu64', '-m', String(memoryMiB), '-nodefaults'];
  const line = 'quiet panic=-1 cryptomgr.notests random.trust_cpu=on';
  const kernel = ['-kernel', path.join(files, 'vmlinuz'), '-initrd', path.join(files, 'initrd'), '-append', line];
  const disk = (file: string, more: string) => ['-drive', `file=${file},if=virtio,${more}`];
  const disks = [...disk(overlay, 'format=qcow2'), ...disk(seed, 'format=raw,readonly=on')];
  const network = `user,id=n0,hostfwd=tcp:127.0.0.1:${barePort}-:80`;
  const card = ['-netdev', network, '-device', 'virtio-net-pci,netdev=n0,romfile='];
  const rest = ['-no-user-config', '-display', 'none', '-device', 'virtio-serial-pci'];
  const child = spawn('qemu-system-x86_64', [...machine, ...rest, ...kernel, ...disks, ...card], { stdio: 'ignore' });
  await firstAnswer('127.0.0.1', barePort);
  const answerMs = performance.now() - begun;
  child.kill('SIGKILL');
  await once(child, 'exit');
  return { answerMs };
}

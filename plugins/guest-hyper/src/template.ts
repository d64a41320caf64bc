import { chown, open, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { digest, runCommand } from '@cloudos/host-tools';
import { bootTemplate, TemplateStore } from '@cloudos/qemu';
import { diskBytes, hardware, rootDisk } from './hardware.ts';
import { initramfs } from './initramfs.ts';
import type { LinuxKernel } from './linux-kernel.ts';

/** What machines and their templates are made of. */
export interface HyperParts {
  readonly qemu: string;
  readonly qemuVersion: string;
  readonly accelerator: 'kvm' | 'tcg';
  readonly kernel: LinuxKernel;
  /** The compiled agent. */
  readonly agent: string;
  /** Where templates are kept. */
  readonly directory: string;
  readonly user?: number;
}

/** A machine that was booted once, up to its agent, with nothing mounted: the memory of its clones begins as its own. */
export interface Template {
  readonly key: string;
  readonly memoryFile: string;
  readonly stateFile: string;
}

const bootMaxMs = 60_000;
/** What the kernel has put off, a second at the most, is done before the copy is taken, and not again in each clone. */
const settleMs = 1_200;
/**
 * What a machine of one guest has no use for costs each clone the translation of its code: security modules beside
 * capabilities, auditing, pressure statistics, addresses that nobody gives out.
 */
const kernelArguments = [
  ...['console=ttyS0', 'quiet', 'loglevel=3', 'panic=-1', 'reboot=t', 'random.trust_cpu=on'],
  ...['ipv6.disable_ipv6=1', 'lsm=landlock', 'audit=0', 'psi=0', 'rcupdate.rcu_expedited=1'],
].join(' ');

/** Makes templates, once for each size of memory and number of containers, and keeps them on disk. */
export class Templates {
  readonly #parts: HyperParts;
  readonly #store: TemplateStore;

  constructor(parts: HyperParts) {
    this.#parts = parts;
    this.#store = new TemplateStore(parts.directory);
  }

  /**
   * @param containers how many beside the first
   * @throws CloudosError GUEST_START_FAILED with the last words of the console
   */
  async of(memoryMiB: number, containers: number): Promise<Template> {
    const { qemuVersion, accelerator, kernel, agent } = this.#parts;
    const key = digest(`3 ${qemuVersion} ${accelerator} ${kernel.version} ${agent} ${memoryMiB} ${containers}`, 16);
    const directory = await this.#store.of(key, (work) => this.#boot(work, memoryMiB, containers));
    return { key, memoryFile: join(directory, 'memory'), stateFile: join(directory, 'state') };
  }

  /** Removes all. */
  remove(): Promise<void> {
    return this.#store.remove();
  }

  async #boot(work: string, memoryMiB: number, containers: number): Promise<void> {
    const { qemu, accelerator, kernel, agent, user } = this.#parts;
    await writeFile(join(work, 'initrd'), await initramfs(agent, kernel.modules));
    await makeSparse(join(work, 'memory'), memoryMiB * 2 ** 20);
    await makeSparse(join(work, 'disk'), diskBytes);
    const line = `${kernelArguments} ${await acceleratorArguments(accelerator)}`;
    const numbers = Array.from({ length: containers }, (_, index) => index + 1);
    const consoles = ['console', 'out', 'err', 'end', ...numbers.flatMap((n) => [`out${n}`, `err${n}`])];
    const command = [
      ...[qemu, '-nodefaults', '-no-user-config', '-display', 'none'],
      ...consoles.flatMap((id) => ['-chardev', `file,id=${id},path=${id}`]),
      ...['-chardev', 'socket,id=agent,path=agent,server=on,wait=off', '-qmp', 'unix:qmp,server=on,wait=off'],
      ...rootDisk('disk'),
      ...numbers.flatMap((n) => rootDisk('disk', n)),
      ...['-netdev', 'hubport,id=n0,hubid=0'],
      ...hardware(accelerator, memoryMiB, containers, 'memory', true),
      ...['-kernel', kernel.image, '-initrd', 'initrd', '-append', line],
    ];
    await bootTemplate({ command, work, files: [], bootMaxMs, settleMs });
    for (const name of ['initrd', 'disk', 'qmp', 'agent']) await rm(join(work, name), { force: true });
    if (user !== undefined) await chown(join(work, 'memory'), user, user);
  }
}

export async function makeSparse(path: string, bytes: number): Promise<void> {
  const file = await open(path, 'a', 0o600);
  await file.truncate(bytes);
  await file.close();
}

/**
 * The frequency of the time stamp counter: without it Linux calibrates against a timer, and early boots on microvm hang
 * now and then with no tick (6 of 25 were seen). TCG's counter runs as the host's.
 */
async function acceleratorArguments(accelerator: 'kvm' | 'tcg'): Promise<string> {
  if (accelerator === 'kvm') return '';
  // Under TCG nothing is speculated, and what guards against it is code like any other.
  const none = 'mitigations=off';
  const said = await runCommand('/bin/dmesg', []).catch(() => '');
  const info = await readFile('/proc/cpuinfo', 'utf8');
  const megahertz = /tsc: Detected ([\d.]+) MHz/.exec(said)?.[1] ?? /cpu MHz\s*:\s*([\d.]+)/.exec(info)?.[1];
  return megahertz === undefined ? none : `${none} tsc_early_khz=${Math.round(Number(megahertz) * 1000)}`;
}

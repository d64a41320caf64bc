import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chown, mkdir, open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { digest, runCommand, toolEnvironment } from '@cloudos/host-tools';
import { connectUnix, decode, QmpClient, saveState, types } from '@cloudos/qemu';
import { CloudosError, messageOf } from '@cloudos/sdk';
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
  readonly #making = new Map<string, Promise<Template>>();

  constructor(parts: HyperParts) {
    this.#parts = parts;
  }

  key(memoryMiB: number, containers: number): string {
    const { qemuVersion, accelerator, kernel, agent } = this.#parts;
    return digest(`3 ${qemuVersion} ${accelerator} ${kernel.version} ${agent} ${memoryMiB} ${containers}`, 16);
  }

  /**
   * @param containers how many beside the first
   * @throws CloudosError GUEST_START_FAILED with the last words of the console
   */
  of(memoryMiB: number, containers: number): Promise<Template> {
    const key = this.key(memoryMiB, containers);
    const directory = join(this.#parts.directory, key);
    const template = { key, memoryFile: join(directory, 'memory'), stateFile: join(directory, 'state') };
    if (existsSync(directory)) return Promise.resolve(template);
    const under = this.#making.get(key);
    if (under) return under;
    const making = this.#make(directory, memoryMiB, containers)
      .then(() => template)
      .finally(() => this.#making.delete(key));
    this.#making.set(key, making);
    return making;
  }

  async #make(directory: string, memoryMiB: number, containers: number): Promise<void> {
    const half = `${directory}.new-${process.pid}`;
    await rm(half, { recursive: true, force: true });
    await mkdir(half, { recursive: true, mode: 0o711 });
    try {
      await this.#boot(half, memoryMiB, containers);
      const { user } = this.#parts;
      if (user !== undefined) await chown(join(half, 'memory'), user, user);
      await rename(half, directory).catch((error: unknown) => {
        // Another driver was faster.
        if (!existsSync(directory)) throw error;
      });
    } finally {
      await rm(half, { recursive: true, force: true });
    }
  }

  async #boot(work: string, memoryMiB: number, containers: number): Promise<void> {
    const { qemu, accelerator, kernel, agent } = this.#parts;
    await writeFile(join(work, 'initrd'), await initramfs(agent, kernel.modules));
    await makeSparse(join(work, 'memory'), memoryMiB * 2 ** 20);
    await makeSparse(join(work, 'disk'), diskBytes);
    const line = `${kernelArguments} ${await acceleratorArguments(accelerator)}`;
    const numbers = Array.from({ length: containers }, (_, index) => index + 1);
    const consoles = ['console', 'out', 'err', 'end', ...numbers.flatMap((n) => [`out${n}`, `err${n}`])];
    const logs = consoles.flatMap((id) => ['-chardev', `file,id=${id},path=${id}.log`]);
    const args = [
      ...['-nodefaults', '-no-user-config', '-display', 'none', ...logs],
      ...['-chardev', 'socket,id=agent,path=agent,server=on,wait=off', '-qmp', 'unix:qmp,server=on,wait=off'],
      ...rootDisk('disk'),
      ...numbers.flatMap((n) => rootDisk('disk', n)),
      ...['-netdev', 'hubport,id=n0,hubid=0'],
      ...hardware(accelerator, memoryMiB, containers, 'memory', true),
      ...['-kernel', kernel.image, '-initrd', 'initrd', '-append', line],
    ];
    const child = spawn(qemu, args, { cwd: work, env: { ...toolEnvironment }, stdio: 'ignore' });
    const over = new Promise((resolve) => child.once('close', resolve));
    try {
      await agentIsReady(join(work, 'agent'), child);
      await new Promise((resolve) => setTimeout(resolve, settleMs));
      const qmp = await QmpClient.connect(join(work, 'qmp'));
      await qmp.execute('stop');
      await qmp.execute('migrate-set-capabilities', ignoreShared);
      await saveState(qmp, work, join(work, 'state'));
      qmp.close();
    } catch (error) {
      const said = (await readFile(join(work, 'console.log'), 'utf8').catch(() => '')).trim().slice(-1_000);
      const message = `the template of ${memoryMiB} MiB did not boot: ${said || messageOf(error)}`;
      throw new CloudosError('GUEST_START_FAILED', message, { cause: error });
    } finally {
      child.kill('SIGKILL');
      await over;
      for (const name of ['initrd', 'disk', 'qmp', 'agent']) await rm(join(work, name), { force: true });
    }
  }
}

/** The memory is in a file already: only the rest of the state is transferred. */
export const ignoreShared = { capabilities: [{ capability: 'x-ignore-shared', state: true }] };

export async function makeSparse(path: string, bytes: number): Promise<void> {
  const file = await open(path, 'a', 0o600);
  await file.truncate(bytes);
  await file.close();
}

/** The first message of the agent. */
async function agentIsReady(path: string, child: ChildProcess): Promise<void> {
  const deadline = Date.now() + bootMaxMs;
  const failed = new Promise<never>((_, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`QEMU ended with ${code}`)));
  });
  failed.catch(() => {});
  const socket = await Promise.race([failed, connected(path, deadline)]);
  let rest: Buffer = Buffer.alloc(0);
  const ready = new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no agent in ${bootMaxMs} ms`)), bootMaxMs);
    socket.on('data', (data: Buffer) => {
      const decoded = decode(Buffer.concat([rest, data]));
      rest = decoded.rest;
      if (!decoded.messages.some(({ type }) => type === types.ready)) return;
      clearTimeout(timer);
      resolve();
    });
  });
  try {
    await Promise.race([failed, ready]);
  } finally {
    socket.destroy();
  }
}

async function connected(path: string, deadline: number) {
  for (;;) {
    try {
      return await connectUnix(path, 1_000);
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
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

import { randomBytes } from 'node:crypto';
import { chmod, chown, copyFile, open, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { digest, findTool, runCommand } from '@cloudos/host-tools';
import { bootTemplate, killedWithParent, type TemplateBoot, TemplateStore, types } from '@cloudos/qemu';
import { acceleratorArguments, kernelArguments } from './boot-arguments.ts';
import { diskBytes, hardware, rootDisk } from './hardware.ts';
import { initramfs } from './initramfs.ts';
import type { LinuxKernel } from './linux-kernel.ts';
import { type KeptTemplate, superfluous } from './template-limits.ts';

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
  /** User that machines run as, where the driver is root. */
  readonly user?: number;
  /** A command as that user. */
  readonly withoutPrivileges: (command: readonly string[]) => readonly string[];
}

/** A machine that stands still; the memory of its clones begins as its own. */
export interface Template {
  /** Machines with the same have the same devices. */
  readonly key: string;
  readonly memoryFile: string;
  readonly stateFile: string;
}

/** The root of a container. */
export interface TemplateImage {
  readonly digest: string;
  /** Its root as a disk. */
  readonly disk: string;
  /** What its program is, by path: read once, so that it lies in memory. Empty: nothing is. */
  readonly program: string;
}

const bootMaxMs = 60_000;
/** What the kernel has put off, a second at the most, is done before the copy is taken, and not again in each clone. */
const settleMs = 1_200;
/**
 * Makes templates and keeps them on disk, in two steps. One boots, for each size of memory and number of containers, up
 * to its agent, with nothing mounted. From that one another is made for each set of images: with their roots in place
 * and the program in memory. Guests are clones of the second.
 */
export class Templates {
  readonly #parts: HyperParts;
  readonly #store: TemplateStore;
  readonly #images: TemplateStore;

  constructor(parts: HyperParts) {
    this.#parts = parts;
    this.#store = new TemplateStore(parts.directory);
    this.#images = new TemplateStore(this.#imagesDirectory);
  }

  /**
   * @param images those of all containers, the first container's first
   * @throws CloudosError GUEST_START_FAILED with the last words of the console
   */
  async of(memoryMiB: number, images: readonly TemplateImage[]): Promise<Template> {
    const { qemuVersion, accelerator, kernel, agent } = this.#parts;
    const containers = images.length - 1;
    const key = digest(`4 ${qemuVersion} ${accelerator} ${kernel.version} ${agent} ${memoryMiB} ${containers}`, 16);
    const name = `${key}-${await nameOf(images)}`;
    const directory = await this.#images.of(name, async (work) => {
      await this.#collect();
      const booted = await this.#store.of(key, (half) => this.#boot(half, memoryMiB, containers));
      await this.#addRoots(work, templateIn(key, booted), memoryMiB, images);
    });
    const now = new Date();
    await utimes(directory, now, now).catch(() => {});
    return templateIn(key, directory);
  }

  /** Removes all. */
  remove(): Promise<void> {
    return this.#store.remove();
  }

  get #imagesDirectory(): string {
    return join(this.#parts.directory, 'images');
  }

  async #boot(work: string, memoryMiB: number, containers: number): Promise<void> {
    const { accelerator, kernel, agent } = this.#parts;
    await writeFile(join(work, 'initrd'), await initramfs(agent, kernel.modules));
    await copyFile(kernel.image, join(work, 'kernel'));
    await makeSparse(join(work, 'memory'), memoryMiB * 2 ** 20);
    await makeSparse(join(work, 'disk'), diskBytes);
    const line = `${kernelArguments} ${await acceleratorArguments(accelerator)}`;
    const disks = Array.from({ length: containers + 1 }, () => 'disk');
    const boot = ['-kernel', 'kernel', '-initrd', 'initrd', '-append', line];
    await this.#run(work, memoryMiB, disks, boot, { files: [] });
  }

  async #addRoots(work: string, base: Template, memoryMiB: number, images: readonly TemplateImage[]): Promise<void> {
    const copy = ['--sparse=always', '--reflink=auto', base.memoryFile, join(work, 'memory')];
    await runCommand(findTool('cp') ?? 'cp', copy);
    const disks = images.map((_, index) => `/dev/fd/${index + 3}`);
    await this.#run(work, memoryMiB, disks, ['-S', '-incoming', 'defer'], {
      files: images.map(({ disk }) => disk),
      from: base.stateFile,
      prepare: async (agent) => {
        const programs = images.map(({ program }) => ['program', program] as const);
        const fields = [...programs, ['entropy', randomBytes(32).toString('hex')] as const];
        await agent.ask(types.prepare, 0, fields, types.started, bootMaxMs);
      },
    });
  }

  /** Runs QEMU in `work` and leaves nothing there but `memory` and `state`. */
  async #run(
    work: string,
    memoryMiB: number,
    disks: readonly string[],
    more: readonly string[],
    boot: Pick<TemplateBoot, 'files' | 'from' | 'prepare'>,
  ): Promise<void> {
    const { qemu, accelerator, user, withoutPrivileges } = this.#parts;
    const further = disks.slice(1).map((_, index) => index + 1);
    const outputs = ['console', 'out', 'err', 'end', ...further.flatMap((n) => [`out${n}`, `err${n}`])];
    const args = [
      ...['-nodefaults', '-no-user-config', '-display', 'none'],
      ...['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
      ...outputs.flatMap((id) => ['-chardev', `file,id=${id},path=${id}`]),
      ...['-chardev', 'socket,id=agent,path=agent,server=on,wait=off', '-qmp', 'unix:qmp,server=on,wait=off'],
      ...disks.flatMap((disk, index) => rootDisk(disk, index)),
      ...['-netdev', 'hubport,id=n0,hubid=0'],
      ...hardware(accelerator, memoryMiB, further.length, 'memory', true),
      ...more,
    ];
    if (user !== undefined) {
      for (const name of await readdir(work)) await chown(join(work, name), user, user);
      await chown(work, user, user);
    }
    await bootTemplate({
      command: withoutPrivileges(killedWithParent([qemu, ...args])),
      work,
      bootMaxMs,
      settleMs,
      ...boot,
    });
    for (const name of await readdir(work)) {
      if (!['memory', 'state'].includes(name)) await rm(join(work, name), { force: true });
    }
    if (user !== undefined) await chown(work, 0, 0);
    await chmod(work, 0o711);
  }

  /** Removes templates of images that have not been used for the longest. Machines that run keep the memory of theirs. */
  async #collect(): Promise<void> {
    const kept: KeptTemplate[] = [];
    for (const name of await readdir(this.#imagesDirectory).catch(() => [])) {
      const usedAt = (await stat(join(this.#imagesDirectory, name)).catch(() => undefined))?.mtimeMs;
      if (usedAt !== undefined) kept.push({ name, usedAt });
    }
    for (const name of superfluous(kept, Date.now())) {
      await rm(join(this.#imagesDirectory, name), { recursive: true, force: true });
    }
  }
}

/** Told apart by the file of the disk as well: one that was made anew may have its blocks elsewhere. */
async function nameOf(images: readonly TemplateImage[]): Promise<string> {
  const disks = await Promise.all(images.map(({ disk }) => stat(disk)));
  const parts = images.map(({ digest: image, program }, index) => {
    return [image, program, disks[index]?.ino, disks[index]?.mtimeMs];
  });
  return digest(JSON.stringify(parts), 16);
}

function templateIn(key: string, directory: string): Template {
  return { key, memoryFile: join(directory, 'memory'), stateFile: join(directory, 'state') };
}

export async function makeSparse(path: string, bytes: number): Promise<void> {
  const file = await open(path, 'a', 0o600);
  await file.truncate(bytes);
  await file.close();
}

import { chown, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { digest } from '@cloudos/host-tools';
import type { DiskFiles } from '@cloudos/images';
import { bootTemplate, killedWithParent, TemplateStore } from '@cloudos/qemu';
import { hardware, type MachineShape, overlayFile } from './hardware.ts';
import { makeOverlay } from './overlay.ts';
import { type SeedOptions, writeSeed } from './seed.ts';

export interface TemplateParts {
  readonly qemu: { readonly path: string; readonly version: string };
  /** The command as the user of machines. */
  readonly withoutPrivileges: (command: readonly string[]) => readonly string[];
  readonly user?: number;
  readonly seed: SeedOptions;
  /** Where templates are kept. */
  readonly directory: string;
  readonly startTimeoutMs: number;
}

/** A machine that has booted up to its agent: its copies begin with its memory and its disk. */
export interface VmTemplate {
  readonly memoryFile: string;
  readonly stateFile: string;
  /** Its overlay. */
  readonly disk: string;
  readonly seed: string;
}

export interface TemplateRequest extends MachineShape {
  readonly imageDigest: string;
  readonly diskBytes: number;
  readonly files: DiskFiles;
}

const settleMs = 1_000;
const mebibyte = 2 ** 20;

/** Makes templates of images that allow it, once for each image and size of a machine, and keeps them until a purge. */
export class VmTemplates {
  readonly #parts: TemplateParts;
  readonly #store: TemplateStore;

  constructor(parts: TemplateParts) {
    this.#parts = parts;
    this.#store = new TemplateStore(parts.directory);
  }

  /** @throws CloudosError GUEST_START_FAILED with the last words of the console */
  async of(request: TemplateRequest): Promise<VmTemplate> {
    const directory = await this.#store.of(this.#key(request), (work) => this.#boot(work, request));
    const path = (name: string) => join(directory, name);
    return { memoryFile: path('memory'), stateFile: path('state'), disk: path(overlayFile), seed: path('seed.iso') };
  }

  /** Removes all. */
  remove(): Promise<void> {
    return this.#store.remove();
  }

  #key({ imageDigest, memoryMiB, vcpus, diskBytes, accelerator }: TemplateRequest): string {
    const { qemu, seed } = this.#parts;
    const content = JSON.stringify([1, qemu.version, accelerator, imageDigest, memoryMiB, vcpus, diskBytes, seed]);
    return digest(content, 16);
  }

  async #boot(work: string, request: TemplateRequest): Promise<void> {
    const { qemu, user, seed, startTimeoutMs } = this.#parts;
    const { disk, kernel, initrd } = request.files;
    await makeOverlay(join(work, overlayFile), disk, request.format, request.diskBytes);
    await writeSeed(join(work, 'seed.iso'), { name: 'template', hostname: 'template' }, undefined, seed);
    const memory = await open(join(work, 'memory'), 'w', 0o600);
    await memory.truncate(request.memoryMiB * mebibyte).finally(() => memory.close());
    if (user !== undefined)
      for (const path of [work, join(work, overlayFile), join(work, 'memory')]) await chown(path, user, user);
    const args = [
      ...['-nodefaults', '-no-user-config', '-display', 'none'],
      ...['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
      ...['-chardev', 'file,id=out,path=out', '-chardev', 'file,id=err,path=err'],
      ...['-qmp', 'unix:qmp,server=on,wait=off'],
      ...['-netdev', 'hubport,id=n0,hubid=0'],
      ...hardware({
        ...request,
        mac: '52:54:00:00:00:01',
        console: 'console',
        memory: { file: 'memory', share: true },
      }),
    ];
    await bootTemplate({
      command: this.#parts.withoutPrivileges(killedWithParent([qemu.path, ...args])),
      work,
      files: [disk, join(work, 'seed.iso'), ...[kernel ?? [], initrd ?? []].flat()],
      bootMaxMs: startTimeoutMs,
      settleMs,
    });
    for (const name of ['agent', 'qmp']) await rm(join(work, name), { force: true });
  }
}

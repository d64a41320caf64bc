import { existsSync } from 'node:fs';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { join } from 'node:path';
import { hostName, resolveEnvironment } from '@cloudos/host-tools';
import { type DiskImage, diskFiles } from '@cloudos/images';
import {
  AgentConnections,
  beginAsCopy,
  checkMachineMounts,
  execByAgent,
  explainEnd,
  hasMounts,
  identity,
  type Machine,
  machineDir,
  type QemuEnd,
  type QmpClient,
  qmpPath,
  types,
  type Vm,
  type VmFlavour,
  type VmImages,
  withQmp,
} from '@cloudos/qemu';
import {
  CloudosError,
  type ExecRequest,
  type ExecSession,
  type GuestExit,
  type GuestSpec,
  type GuestStats,
} from '@cloudos/sdk';
import { virtualSize } from './base-disk.ts';
import { hardware, type MachineShape, overlayFile, translationMiB } from './hardware.ts';
import { copyOverlay, makeOverlay } from './overlay.ts';
import { programFields } from './program.ts';
import { type SeedOptions, writeSeed } from './seed.ts';
import type { VmTemplate, VmTemplates } from './template.ts';
import { checkSpec, type Own, ownOf } from './vm-spec.ts';

const mebibyte = 2 ** 20;
/** QEMU's own beside the buffer for translated code: 60 MB of a machine with 128 MiB were measured. */
const overheadBytes = 192 * mebibyte;
/** What serves mounts, beside QEMU. */
const daemonBytes = 64 * mebibyte;
const askMaxMs = 5_000;
const seedFile = 'seed.iso';
/**
 * In the directory of a guest that may begin as a copy of a template. It is taken away before the first run: once its disk
 * was written to, the memory of the template does not go with it any more.
 */
const untouched = 'untouched';
/** The run that is under way began as a copy. */
const copied = 'copied';

export interface VmGuestOptions {
  readonly accelerator: 'kvm' | 'tcg';
  readonly images: VmImages;
  readonly stateDir: string;
  /** Directories whose paths guests may mount. */
  readonly hostPaths: readonly string[];
  readonly seed: SeedOptions;
  readonly templates: VmTemplates;
  /** Memory of a guest without a limit. */
  readonly memoryBytes: number;
  /** Size of the disk of a guest without a limit. */
  readonly diskBytes: number;
  /** Processors of a guest; more where its limit is more. */
  readonly vcpus: number;
  readonly startTimeoutMs: number;
}

/** A complete Linux image in a virtual machine: its disk below an overlay of the guest's own, a seed, a serial console. */
export class VmGuestFlavour implements VmFlavour {
  readonly runtime = 'vm';
  readonly #options: VmGuestOptions;
  readonly #agents = new AgentConnections();

  constructor(options: VmGuestOptions) {
    this.#options = options;
  }

  async admit(spec: GuestSpec): Promise<Readonly<Record<string, unknown>>> {
    checkSpec(spec);
    await checkMachineMounts(spec, this.#options.hostPaths);
    const image = await this.#image(spec.template.image);
    const { command = [], args = [] } = spec.template;
    const own: Own = {
      digest: image.digest,
      command: [...command, ...args],
      diskBytes: await this.#diskSize(image, spec),
    };
    return { ...own };
  }

  #image(reference: string): Promise<DiskImage> {
    return this.#options.images.find(reference, 'disk', 'a virtual machine');
  }

  async #diskSize(image: DiskImage, { instance, template }: GuestSpec): Promise<number> {
    const { store } = this.#options.images;
    const least = await virtualSize((await diskFiles(store, image)).disk, image.format);
    const limit = template.limits.diskBytes;
    if (limit > 0 && limit < least) {
      throw new CloudosError(
        'GUEST_SPEC_INVALID',
        `${instance}: a limit of ${limit} bytes is less than the disk of the image has (${least})`,
      );
    }
    // In steps that every file system and partition table takes.
    return Math.floor(Math.max(limit || this.#options.diskBytes, least) / mebibyte) * mebibyte || least;
  }

  async fill({ name, directory, state }: Vm): Promise<void> {
    const { images } = this.#options;
    const own = ownOf(state);
    await images.hold(own.digest, name);
    try {
      const image = await this.#image(own.digest);
      const overlay = join(directory, machineDir, overlayFile);
      // The state of a machine does not go into one with mounts.
      if (image.clonable && own.command.length > 0 && !hasMounts(state.spec)) {
        await copyOverlay((await this.#template(state, image)).disk, overlay);
        await writeFile(join(directory, untouched), '');
      } else {
        await makeOverlay(overlay, (await diskFiles(images.store, image)).disk, image.format, own.diskBytes);
      }
    } catch (error) {
      await images.release(own.digest, name);
      throw error;
    }
  }

  async removed({ name, state }: Vm): Promise<void> {
    await this.#options.images.release(ownOf(state).digest, name);
  }

  /** A guest without a command is told who it is in its boot, so it has one of its own. */
  async #template(state: Vm['state'], image: DiskImage): Promise<VmTemplate> {
    const { digest, diskBytes } = ownOf(state);
    const files = await diskFiles(this.#options.images.store, image);
    return this.#options.templates.of({ ...this.#shape(state, image), imageDigest: digest, diskBytes, files });
  }

  async prepare({ directory, state }: Vm): Promise<void> {
    await rm(join(directory, copied), { force: true });
    const first = await rename(join(directory, untouched), join(directory, copied)).then(
      () => true,
      () => false,
    );
    if (first && state.resumeFrom === undefined) return;
    await rm(join(directory, copied), { force: true });
    const { instance, template } = state.spec;
    const machine = { name: instance, hostname: template.hostname ?? hostName(instance) };
    await writeSeed(join(directory, seedFile), machine, state.network, this.#options.seed);
  }

  #shape({ spec }: Vm['state'], { boot, format }: DiskImage): MachineShape {
    const { memoryBytes, cpuMillis } = spec.template.limits;
    return {
      accelerator: this.#options.accelerator,
      memoryMiB: Math.floor((memoryBytes || this.#options.memoryBytes) / mebibyte),
      vcpus: Math.max(this.#options.vcpus, Math.ceil(cpuMillis / 1000)),
      format,
      ...(boot ? { boot: { initrd: boot.initrd !== undefined, commandLine: boot.commandLine } } : {}),
    };
  }

  async machine({ directory, state }: Vm): Promise<Machine> {
    const own = ownOf(state);
    const image = await this.#image(own.digest);
    const { disk, kernel, initrd } = await diskFiles(this.#options.images.store, image);
    const shape = this.#shape(state, image);
    const template = existsSync(join(directory, copied)) ? await this.#template(state, image) : undefined;
    const files = [disk, template?.seed ?? join(directory, seedFile), ...[kernel ?? [], initrd ?? []].flat()];
    const hasProgram = own.command.length > 0;
    const mounts = await checkMachineMounts(state.spec, this.#options.hostPaths);
    return {
      args: hardware({
        ...shape,
        mac: state.network?.mac,
        console: hasProgram ? 'console' : 'out',
        mounts: mounts.length > 0,
        ...(template ? { memory: { file: `/dev/fd/${3 + files.length}`, share: false } } : {}),
      }),
      files: [...files, ...(template ? [template.memoryFile] : [])],
      memoryBytes:
        (shape.memoryMiB + translationMiB(shape)) * mebibyte + overheadBytes + (mounts.length > 0 ? daemonBytes : 0),
      disks: [overlayFile],
      shape: `vm ${own.digest} ${shape.memoryMiB}M ${shape.vcpus} ${own.diskBytes} ${hasProgram ? 'program' : 'console'}${mounts.length > 0 ? ' mounts' : ''}`,
      console: hasProgram,
      ...(mounts.length > 0 ? { mounts: { mounts } } : {}),
      incoming: template !== undefined,
      offloads: !image.clonable,
    };
  }

  async started(vm: Vm, qmp: QmpClient, resumed: boolean): Promise<void> {
    const { command } = ownOf(vm.state);
    if (resumed) {
      // A machine without an agent goes on as the one that it was.
      if (!(await hasAgent(qmp))) return;
      const agent = await this.#agents.to(vm);
      await agent.ask(types.configure, 0, identity(vm.state), types.started, askMaxMs);
      return;
    }
    if (command.length === 0) return;
    const isCopy = existsSync(join(vm.directory, copied));
    if (isCopy) {
      const { stateFile } = await this.#template(vm.state, await this.#image(ownOf(vm.state).digest));
      await beginAsCopy(qmp, join(vm.directory, machineDir), stateFile);
    }
    const agent = await this.#agents.to(vm);
    const program = programFields(vm.state, await this.#defaults(vm.state.spec));
    // What is said now waits in the socket until the agent is there.
    const fields = [...(isCopy ? identity(vm.state) : []), ...program];
    await agent.ask(types.boot, 0, fields, types.started, this.#options.startTimeoutMs);
  }

  async #defaults({ template, instance }: GuestSpec) {
    const user = template.user ?? 0;
    const env = {
      HOME: user === 0 ? '/root' : '/',
      HOSTNAME: template.hostname ?? hostName(instance),
      ...(await resolveEnvironment(this.#options.stateDir, template.env)),
    };
    return { env, workingDir: template.workingDir ?? '/', user };
  }

  async exec(vm: Vm, request: ExecRequest): Promise<ExecSession> {
    await this.#needAgent(vm);
    return execByAgent(await this.#agents.to(vm), request, await this.#defaults(vm.state.spec));
  }

  /** A program was begun by the agent; of a machine alone nobody knows before. */
  async #needAgent(vm: Vm): Promise<void> {
    if (ownOf(vm.state).command.length > 0) return;
    if (await withQmp(qmpPath(vm.directory), {}, hasAgent)) return;
    throw new CloudosError(
      'GUEST_UNSUPPORTED',
      `${vm.state.spec.instance} runs no agent: its image does not read NoCloud seeds, or has not come that far`,
    );
  }

  async stats(vm: Vm, outside: GuestStats): Promise<GuestStats> {
    if (ownOf(vm.state).command.length === 0) return outside;
    const agent = await this.#agents.to(vm);
    const channel = agent.openChannel(() => {});
    const { payload } = await agent.ask(types.askUsage, channel, [], types.usage, askMaxMs);
    return { ...outside, pids: payload.readUInt32LE(0) };
  }

  /** A program gets SIGTERM, and the machine ends with it; a machine alone finds its power button pressed. */
  async askToStop(vm: Vm): Promise<void> {
    if (ownOf(vm.state).command.length > 0) {
      (await this.#agents.to(vm)).send(types.signalMain, 0, Uint8Array.of(constants.signals.SIGTERM));
      return;
    }
    await withQmp(qmpPath(vm.directory), {}, (qmp) => qmp.execute('system_powerdown'));
  }

  async explain(vm: Vm, end: QemuEnd): Promise<Omit<GuestExit, 'instance' | 'attempt'>> {
    const said = (...path: string[]) => readFile(join(vm.directory, ...path), 'utf8').catch(() => '');
    return explainEnd(await said(machineDir, 'end'), end, () => said('console'), { powersOff: true });
  }

  ended(name: string): void {
    this.#agents.close(name);
  }

  /** A state with a connection in it would begin with the half of a message. */
  async beforeSnapshot({ name }: Vm): Promise<void> {
    this.#agents.close(name);
  }

  detach(): void {
    this.#agents.closeAll();
  }

  purge(): Promise<void> {
    return this.#options.templates.remove();
  }
}

/** Whether something in the machine holds the port of the agent. */
async function hasAgent(qmp: QmpClient): Promise<boolean> {
  const devices = await qmp.execute<readonly { label: string; 'frontend-open': boolean }[]>('query-chardev');
  return devices.some((device) => device.label === 'agent' && device['frontend-open']);
}

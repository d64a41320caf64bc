import { readFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { join } from 'node:path';
import { findTool, hostName, resolveEnvironment, runCommand } from '@cloudos/host-tools';
import { type DiskImage, diskFiles } from '@cloudos/images';
import {
  AgentConnections,
  execByAgent,
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
import { explainEnd } from './explain.ts';
import { hardware, overlayFile } from './hardware.ts';
import { identity, programFields } from './program.ts';
import { type SeedOptions, writeSeed } from './seed.ts';
import { checkSpec, type Own, ownOf } from './vm-spec.ts';

const mebibyte = 2 ** 20;
/** QEMU's own: the buffer for translated code and its tables; 150 MB of a machine with 128 MiB were measured. */
const overheadBytes = 256 * mebibyte;
const askMaxMs = 5_000;
const packMaxMs = 20_000;
const seedFile = 'seed.iso';

export interface VmGuestOptions {
  readonly accelerator: 'kvm' | 'tcg';
  readonly images: VmImages;
  readonly stateDir: string;
  readonly seed: SeedOptions;
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
      const { disk } = await diskFiles(images.store, image);
      const overlay = join(directory, machineDir, overlayFile);
      const args = [
        'create',
        '-q',
        '-f',
        'qcow2',
        '-u',
        '-b',
        disk,
        '-F',
        image.format,
        overlay,
        String(own.diskBytes),
      ];
      await runCommand(findTool('qemu-img') ?? 'qemu-img', args, { timeoutMs: packMaxMs });
    } catch (error) {
      await images.release(own.digest, name);
      throw error;
    }
  }

  async removed({ name, state }: Vm): Promise<void> {
    await this.#options.images.release(ownOf(state).digest, name);
  }

  prepare({ directory, state }: Vm): Promise<void> {
    return writeSeed(join(directory, seedFile), state.spec, state.network, this.#options.seed);
  }

  async machine({ directory, state }: Vm): Promise<Machine> {
    const { accelerator, images } = this.#options;
    const own = ownOf(state);
    const image = await this.#image(own.digest);
    const files = await diskFiles(images.store, image);
    const memoryMiB = Math.floor((state.spec.template.limits.memoryBytes || this.#options.memoryBytes) / mebibyte);
    const vcpus = Math.max(this.#options.vcpus, Math.ceil(state.spec.template.limits.cpuMillis / 1000));
    const { boot, format } = image;
    const hasProgram = own.command.length > 0;
    return {
      args: hardware({
        accelerator,
        memoryMiB,
        vcpus,
        network: state.network,
        format,
        console: hasProgram ? 'console' : 'out',
        ...(boot ? { boot: { initrd: boot.initrd !== undefined, commandLine: boot.commandLine } } : {}),
      }),
      files: [files.disk, join(directory, seedFile), ...[files.kernel ?? [], files.initrd ?? []].flat()],
      memoryBytes: memoryMiB * mebibyte + overheadBytes,
      disks: [overlayFile],
      shape: `vm ${own.digest} ${memoryMiB}M ${vcpus} ${own.diskBytes} ${hasProgram ? 'program' : 'console'}`,
      console: hasProgram,
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
    const agent = await this.#agents.to(vm);
    // What is said now waits in the socket until the agent is there.
    const fields = programFields(vm.state, await this.#defaults(vm.state.spec));
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
    const record = await readFile(join(vm.directory, machineDir, 'end'), 'utf8').catch(() => '');
    return explainEnd(record, end, async () => readFile(join(vm.directory, 'console'), 'utf8').catch(() => ''));
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
}

/** Whether something in the machine holds the port of the agent. */
async function hasAgent(qmp: QmpClient): Promise<boolean> {
  const devices = await qmp.execute<readonly { label: string; 'frontend-open': boolean }[]>('query-chardev');
  return devices.some((device) => device.label === 'agent' && device['frontend-open']);
}

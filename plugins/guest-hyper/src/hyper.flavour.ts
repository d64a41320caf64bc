import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { join } from 'node:path';
import { findTool, runCommand } from '@cloudos/host-tools';
import { commandLine, squashfsDisk } from '@cloudos/images';
import {
  AgentConnections,
  beginAsCopy,
  checkMachineMounts,
  containerChannel,
  containerIndex,
  execByAgent,
  explainEnd,
  furtherContainers,
  hasMounts,
  identity,
  type Machine,
  type MachineMounts,
  machineDir,
  type QemuEnd,
  type QmpClient,
  types,
  type Vm,
  type VmFlavour,
  type VmImages,
} from '@cloudos/qemu';
import {
  CloudosError,
  type ExecRequest,
  type ExecSession,
  type GuestExit,
  type GuestSpec,
  type GuestStats,
} from '@cloudos/sdk';
import { coldMachine } from './cold-boot.ts';
import { diskBytes, hardware, rootDisk } from './hardware.ts';
import { admitContainers, defaultsOf, imagesOf, type Own, type Program, programFields } from './hyper-containers.ts';
import { type HyperParts, makeSparse, type Template, type TemplateImage, Templates } from './template.ts';

/** Less than that Linux does not boot in. */
export const memoryMinBytes = 76 * 2 ** 20;
const mebibyte = 2 ** 20;
/** QEMU's own: 87 MB of a clone measured, with the buffer for translated code. */
const overheadBytes = 192 * mebibyte;
/** What the kernel takes for the disk and the ports of a further container: 12 MB measured. */
const containerBytes = 16 * mebibyte;
/** What serves mounts, beside QEMU. */
const daemonBytes = 64 * mebibyte;
const bootMaxMs = 20_000;
const coldBootMaxMs = 60_000;
/** Images whose disks are remembered. */
const disksMax = 256;
const askMaxMs = 5_000;

export interface HyperOptions {
  readonly parts: HyperParts;
  readonly images: VmImages;
  readonly stateDir: string;
  /** Directories whose paths guests may mount. */
  readonly hostPaths: readonly string[];
  readonly memoryBytes: number;
}

/** What is known of a machine from outside: its agent, how it ended, what its kernel says. */
const chardevs: readonly string[] = [
  ...['-chardev', 'socket,id=agent,path=agent,server=on,wait=off'],
  ...['-chardev', 'file,id=end,path=end,append=on', '-chardev', 'file,id=console,path=console.log,append=on'],
];

/** A container image in a virtual machine of its own, cloned from a template that has booted already. */
export class HyperFlavour implements VmFlavour {
  readonly runtime = 'hyper';
  readonly pods = true;
  readonly #options: HyperOptions;
  readonly #templates: Templates;
  readonly #agents = new AgentConnections();
  /** The disks of images, by digest, and the templates of machines that are being started, by guest. */
  readonly #disks = new Map<string, TemplateImage>();
  readonly #starting = new Map<string, Template>();

  constructor(options: HyperOptions) {
    this.#options = options;
    this.#templates = new Templates(options.parts);
  }

  async admit(spec: GuestSpec): Promise<Readonly<Record<string, unknown>>> {
    checkSpec(spec);
    await checkMachineMounts(spec, this.#options.hostPaths);
    return { ...(await admitContainers(spec, this.#options.images)) };
  }

  async fill({ name, state }: Vm): Promise<void> {
    const { images } = this.#options;
    const digests = imagesOf(ownOf(state));
    for (const digest of digests) await images.hold(digest, name);
    try {
      await (hasMounts(state.spec) ? this.#images(state) : this.#template(state));
    } catch (error) {
      for (const digest of digests) await images.release(digest, name);
      throw error;
    }
  }

  /** The root as a disk of the size that all disks have. */
  async #image(digest: string): Promise<TemplateImage> {
    const known = this.#disks.get(digest);
    if (known && existsSync(known.disk)) return known;
    const { images } = this.#options;
    const { store } = images;
    const image = await images.find(digest, 'oci', 'a guest in a tiny VM');
    const squashfs = await squashfsDisk(store, image);
    const form = await store.derive(image.digest, 'squashfs-4g', async (directory) => {
      const disk = join(directory, 'disk');
      await runCommand(findTool('cp') ?? 'cp', ['--reflink=auto', squashfs, disk]);
      await makeSparse(disk, diskBytes);
      await runCommand(findTool('chmod') ?? 'chmod', ['644', disk]);
    });
    const made = { digest, disk: join(form, 'disk'), program: commandLine({}, image.program)[0] ?? '' };
    if (this.#disks.size >= disksMax) this.#disks.clear();
    this.#disks.set(digest, made);
    return made;
  }

  async removed({ name, state }: Vm): Promise<void> {
    for (const digest of imagesOf(ownOf(state))) await this.#options.images.release(digest, name);
  }

  /** What a guest writes lies in its machine's memory: a limit for that is added to the other. */
  #mebibytes({ template }: GuestSpec): number {
    const { memoryBytes, diskBytes: disk } = template.limits;
    const further = containerBytes * (template.containers?.length ?? 0);
    return Math.floor(((memoryBytes || this.#options.memoryBytes) + disk + further) / mebibyte);
  }

  async #images(state: Vm['state']): Promise<TemplateImage[]> {
    const own = ownOf(state);
    const digests = [own, ...own.containers].map(({ digest }) => digest);
    // All to their end, also when one fails: nothing goes on behind the back of whoever asked.
    const made = await Promise.allSettled(digests.map((digest) => this.#image(digest)));
    return made.map((part) => {
      if (part.status === 'rejected') throw part.reason;
      return part.value;
    });
  }

  async #template(state: Vm['state']): Promise<Template> {
    return this.#templates.of(this.#mebibytes(state.spec), await this.#images(state));
  }

  async machine(vm: Vm): Promise<Machine> {
    const mounts = await checkMachineMounts(vm.state.spec, this.#options.hostPaths);
    return mounts.length > 0 ? this.#bootedMachine(vm, { mounts }) : this.#clonedMachine(vm);
  }

  async #bootedMachine({ state }: Vm, mounts: MachineMounts): Promise<Machine> {
    const memoryMiB = this.#mebibytes(state.spec);
    const images = await this.#images(state);
    const disks = images.map(({ disk }) => disk);
    const { args, files } = await coldMachine(this.#options.parts, memoryMiB, disks);
    return {
      args: [...chardevs, ...args],
      files,
      memoryBytes: memoryMiB * mebibyte + overheadBytes + daemonBytes,
      disks: [],
      shape: `hyper ${memoryMiB}M mounts ${images.map(({ digest }) => digest).join(' ')}`,
      containers: furtherContainers(state.spec),
      mounts,
      offloads: false,
    };
  }

  async #clonedMachine({ name, state }: Vm): Promise<Machine> {
    const memoryMiB = this.#mebibytes(state.spec);
    const images = await this.#images(state);
    const template = await this.#templates.of(memoryMiB, images);
    this.#starting.set(name, template);
    const [disk = '', ...further] = images.map((image) => image.disk);
    const digests = images.map(({ digest }) => digest).join(' ');
    return {
      args: [
        ...chardevs,
        ...rootDisk('/dev/fd/3'),
        ...further.flatMap((_, index) => rootDisk(`/dev/fd/${index + 5}`, index + 1)),
        ...hardware(this.#options.parts.accelerator, memoryMiB, further.length, '/dev/fd/4', false),
      ],
      files: [disk, template.memoryFile, ...further],
      memoryBytes: memoryMiB * mebibyte + overheadBytes,
      disks: [],
      shape: `hyper ${template.key} ${digests}`,
      containers: furtherContainers(state.spec),
      incoming: true,
      offloads: false,
    };
  }

  async started(vm: Vm, qmp: QmpClient, resumed: boolean): Promise<void> {
    const booted = hasMounts(vm.state.spec);
    const agent = await this.#agents.to(vm);
    if (!resumed && !booted) {
      const { stateFile } = this.#starting.get(vm.name) ?? (await this.#template(vm.state));
      await beginAsCopy(qmp, join(vm.directory, machineDir), stateFile);
    }
    this.#starting.delete(vm.name);
    const { spec } = vm.state;
    const own = ownOf(vm.state);
    const about = identity(vm.state);
    if (resumed) return void (await agent.ask(types.configure, 0, about, types.started, bootMaxMs));
    for (let index = 0; index <= own.containers.length; index++) {
      const program = await programFields(spec, own, index, this.#options.stateDir);
      const fields = [...about, ...program];
      // What is said to a machine that boots waits in the socket until its agent is there.
      const maxMs = booted ? coldBootMaxMs : bootMaxMs;
      if (index === 0) await agent.ask(types.boot, 0, fields, types.started, maxMs);
      else await agent.ask(types.container, containerChannel(index), fields, types.started, bootMaxMs);
    }
  }

  async exec(vm: Vm, request: ExecRequest): Promise<ExecSession> {
    const { spec } = vm.state;
    const index = containerIndex(spec, request.container);
    const defaults = await defaultsOf(spec, ownOf(vm.state), index, this.#options.stateDir);
    return execByAgent(await this.#agents.to(vm), request, defaults);
  }

  async stats(vm: Vm, outside: GuestStats): Promise<GuestStats> {
    const agent = await this.#agents.to(vm);
    const channel = agent.openChannel(() => {});
    const { payload } = await agent.ask(types.askUsage, channel, [], types.usage, askMaxMs);
    return { ...outside, pids: payload.readUInt32LE(0) };
  }

  async signalContainer(vm: Vm, index: number, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const agent = await this.#agents.to(vm);
    agent.send(types.signalMain, containerChannel(index), Uint8Array.of(constants.signals[signal]));
  }

  async askToStop(vm: Vm): Promise<void> {
    (await this.#agents.to(vm)).send(types.signalMain, 0, Uint8Array.of(constants.signals.SIGTERM));
  }

  async explain(vm: Vm, end: QemuEnd): Promise<Omit<GuestExit, 'instance' | 'attempt'>> {
    const said = (name: string) => readFile(join(vm.directory, machineDir, name), 'utf8').catch(() => '');
    return explainEnd(await said('end'), end, () => said('console.log'), { powersOff: false });
  }

  ended(name: string): void {
    this.#starting.delete(name);
    this.#agents.close(name);
  }

  /** A state with a connection in it would begin with the half of a message. */
  async beforeSnapshot({ name }: Vm): Promise<void> {
    this.ended(name);
  }

  detach(): void {
    this.#agents.closeAll();
  }

  purge(): Promise<void> {
    return this.#templates.remove();
  }
}

/** Of a guest that an earlier version made, too: it had one container. */
function ownOf({ own }: Pick<Vm['state'], 'own'>): Own {
  return { containers: [], ...(own as unknown as Program) };
}

function checkSpec({ instance, template }: GuestSpec): void {
  const refuse = (what: string): never => {
    throw new CloudosError('GUEST_SPEC_INVALID', `${instance}: ${what}`);
  };
  const { memoryBytes } = template.limits;
  if (memoryBytes > 0 && memoryBytes < memoryMinBytes) {
    refuse(`a virtual machine with Linux needs ${memoryMinBytes} bytes of memory at the least, not ${memoryBytes}`);
  }
}

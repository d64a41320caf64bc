import { randomBytes } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { constants } from 'node:os';
import { join } from 'node:path';
import { findTool, hostName, resolveEnvironment, runCommand, signalName } from '@cloudos/host-tools';
import { commandLine, type OciImage, squashfsDisk } from '@cloudos/images';
import {
  AgentConnection,
  execByAgent,
  type Fields,
  inside,
  loadState,
  type Machine,
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
import { diskBytes, hardware, rootDisk } from './hardware.ts';
import { type HyperParts, ignoreShared, makeSparse, Templates } from './template.ts';

/** Less than that Linux does not boot in. */
export const memoryMinBytes = 76 * 2 ** 20;
const mebibyte = 2 ** 20;
/** QEMU's own: 87 MB of a clone measured, with the buffer for translated code. */
const overheadBytes = 192 * mebibyte;
const bootMaxMs = 20_000;
const askMaxMs = 5_000;
const idleMaxMs = 2_000;

/** What is kept about a guest. */
interface Own {
  readonly digest: string;
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly workingDir: string;
  readonly user: number;
}

export interface HyperOptions {
  readonly parts: HyperParts;
  readonly images: VmImages;
  readonly stateDir: string;
  readonly memoryBytes: number;
}

/** A container image in a virtual machine of its own, cloned from a template that has booted already. */
export class HyperFlavour implements VmFlavour {
  readonly runtime = 'hyper';
  readonly #options: HyperOptions;
  readonly #templates: Templates;
  readonly #agents = new Map<string, Promise<AgentConnection>>();

  constructor(options: HyperOptions) {
    this.#options = options;
    this.#templates = new Templates(options.parts);
  }

  async admit(spec: GuestSpec): Promise<Readonly<Record<string, unknown>>> {
    checkSpec(spec);
    const image = await this.#options.images.find(spec.template.image, 'oci', 'a guest in a tiny VM');
    const { program } = image;
    const user = Number.parseInt(program.user || '0', 10);
    const command = commandLine(spec.template, program);
    if (command.length === 0) {
      throw new CloudosError(
        'GUEST_SPEC_INVALID',
        `${spec.instance}: the image has no program of its own; give a command`,
      );
    }
    const own: Own = {
      digest: image.digest,
      command,
      env: program.env,
      workingDir: program.workingDir,
      user: Number.isInteger(user) ? user : 0,
    };
    return { ...own };
  }

  async fill({ name, state }: Vm): Promise<void> {
    const { images } = this.#options;
    const own = ownOf(state);
    await images.hold(own.digest, name);
    try {
      const image = await images.find(own.digest, 'oci', 'a guest in a tiny VM');
      // Both to their end, also when one fails: nothing goes on behind the back of whoever asked.
      const made = await Promise.allSettled([this.#disk(image), this.#templates.of(this.#mebibytes(state.spec))]);
      for (const part of made) if (part.status === 'rejected') throw part.reason;
    } catch (error) {
      await images.release(own.digest, name);
      throw error;
    }
  }

  /** The root as a disk of the size that all disks have. */
  async #disk(image: OciImage): Promise<string> {
    const { store } = this.#options.images;
    const squashfs = await squashfsDisk(store, image);
    const form = await store.derive(image.digest, 'squashfs-4g', async (directory) => {
      const disk = join(directory, 'disk');
      await runCommand(findTool('cp') ?? 'cp', ['--reflink=auto', squashfs, disk]);
      await makeSparse(disk, diskBytes);
      await runCommand(findTool('chmod') ?? 'chmod', ['644', disk]);
    });
    return join(form, 'disk');
  }

  async removed({ name, state }: Vm): Promise<void> {
    await this.#options.images.release(ownOf(state).digest, name);
  }

  /** What a guest writes lies in its machine's memory: a limit for that is added to the other. */
  #mebibytes({ template }: GuestSpec): number {
    const { memoryBytes, diskBytes: disk } = template.limits;
    return Math.floor(((memoryBytes || this.#options.memoryBytes) + disk) / mebibyte);
  }

  async machine({ state }: Vm): Promise<Machine> {
    const memoryMiB = this.#mebibytes(state.spec);
    const template = await this.#templates.of(memoryMiB);
    const { images, parts } = this.#options;
    const disk = await this.#disk(await images.find(ownOf(state).digest, 'oci', 'a guest in a tiny VM'));
    const append = (id: string, path: string) => ['-chardev', `file,id=${id},path=${path},append=on`];
    return {
      args: [
        ...['-chardev', 'socket,id=agent,path=agent,server=on,wait=off'],
        ...append('end', 'end'),
        ...append('console', 'console.log'),
        ...rootDisk('/dev/fd/3'),
        ...hardware(parts.accelerator, memoryMiB, '/dev/fd/4', false),
      ],
      files: [disk, template.memoryFile],
      memoryBytes: memoryMiB * mebibyte + overheadBytes,
      disks: [],
      shape: `hyper ${template.key} ${ownOf(state).digest}`,
      incoming: true,
      offloads: false,
    };
  }

  async started(vm: Vm, qmp: QmpClient, resumed: boolean): Promise<void> {
    if (!resumed) {
      const { stateFile } = await this.#templates.of(this.#mebibytes(vm.state.spec));
      await qmp.execute('migrate-set-capabilities', ignoreShared);
      await loadState(qmp, join(vm.directory, machineDir), stateFile);
      // For the snapshots that may be taken of it: their memory is not in a file.
      const off = { capabilities: [{ capability: 'x-ignore-shared', state: false }] };
      await qmp.execute('migrate-set-capabilities', off);
      await qmp.execute('cont');
    }
    const agent = await this.#agent(vm);
    const fields = [...this.#identity(vm), ...(resumed ? [] : await this.#program(vm))];
    await agent.ask(resumed ? types.configure : types.boot, 0, fields, types.started, bootMaxMs);
  }

  /** What clones and copies must not share. */
  #identity({ state }: Vm): Fields {
    const network = state.network && inside(state.network);
    const now = Date.now() * 1000;
    return [
      ['time', String(now)],
      ['entropy', randomBytes(32).toString('hex')],
      ['hostname', state.spec.template.hostname ?? hostName(state.spec.instance)],
      ...(network
        ? ([
            ['ip', network.address],
            ['prefix', String(network.prefix)],
            ['gateway', network.gateway],
            ['mac', network.mac],
          ] as const)
        : []),
    ];
  }

  async #program({ state }: Vm): Promise<Fields> {
    const { template } = state.spec;
    const { env, workingDir, user } = await this.#defaults(state.spec, ownOf(state));
    return [
      ...ownOf(state).command.map((word) => ['arg', word] as const),
      ...Object.entries(env).map(([name, value]) => ['env', `${name}=${value}`] as const),
      ['cwd', workingDir],
      ['user', String(user)],
      ...(template.limits.pids > 0 ? [['pids', String(template.limits.pids)] as const] : []),
      ...(template.limits.diskBytes > 0 ? [['disk', String(template.limits.diskBytes)] as const] : []),
      ...(template.readOnlyRoot ? [['readonly', '1'] as const] : []),
    ];
  }

  async #defaults({ template, instance }: GuestSpec, own: Own) {
    const user = template.user ?? own.user;
    const env = {
      HOME: user === 0 ? '/root' : '/',
      HOSTNAME: template.hostname ?? hostName(instance),
      ...own.env,
      ...(await resolveEnvironment(this.#options.stateDir, template.env)),
    };
    return { env, workingDir: template.workingDir ?? own.workingDir, user };
  }

  async exec(vm: Vm, request: ExecRequest): Promise<ExecSession> {
    const agent = await this.#agent(vm);
    return execByAgent(agent, request, await this.#defaults(vm.state.spec, ownOf(vm.state)));
  }

  async stats(vm: Vm, outside: GuestStats): Promise<GuestStats> {
    const agent = await this.#agent(vm);
    const channel = agent.openChannel(() => {});
    const { payload } = await agent.ask(types.askUsage, channel, [], types.usage, askMaxMs);
    return { ...outside, pids: payload.readUInt32LE(0) };
  }

  async askToStop(vm: Vm): Promise<void> {
    (await this.#agent(vm)).send(types.signalMain, 0, Uint8Array.of(constants.signals.SIGTERM));
  }

  async explain(vm: Vm, end: QemuEnd): Promise<Omit<GuestExit, 'instance' | 'attempt'>> {
    const text = await readFile(join(vm.directory, machineDir, 'end'), 'utf8').catch(() => '');
    const [, code = '', signal = '', ooms = ''] = /^end (-?\d{1,3}) (\d{1,2}) (\d{1,9})$/m.exec(text) ?? [];
    const name = signalName(Number(signal));
    if (code !== '' && name) {
      const outOfMemory = name === 'SIGKILL' && Number(ooms) > 0;
      const message = `over its memory of ${this.#mebibytes(vm.state.spec)} MiB`;
      return {
        exitCode: null,
        signal: name,
        reason: outOfMemory ? 'oom-killed' : 'signalled',
        ...(outOfMemory ? { message } : {}),
      };
    }
    if (code !== '') return { exitCode: Number(code), signal: null, reason: 'exited' };
    if (end.status === 137) {
      const killed = end.oomKills > 0 ? 'oom-killed' : 'signalled';
      return { exitCode: null, signal: 'SIGKILL', reason: killed, message: 'QEMU was killed' };
    }
    const console = (await readFile(join(vm.directory, machineDir, 'console.log'), 'utf8').catch(() => '')).slice(-500);
    const message = `the machine ended without telling how its guest did (status ${end.status}): ${console.trim()}`;
    return { exitCode: null, signal: null, reason: 'lost', message };
  }

  ended(name: string): void {
    this.#agents.get(name)?.then(
      (agent) => agent.close(),
      () => {},
    );
    this.#agents.delete(name);
  }

  /** A state with a connection in it would begin with the half of a message. */
  async beforeSnapshot({ name }: Vm): Promise<void> {
    this.ended(name);
  }

  detach(): void {
    for (const name of [...this.#agents.keys()]) this.ended(name);
  }

  async purge(): Promise<void> {
    await rm(this.#options.parts.directory, { recursive: true, force: true });
  }

  /** The connection to the agent of a guest; closed again when it is not used. */
  #agent({ name, directory }: Vm): Promise<AgentConnection> {
    const known = this.#agents.get(name);
    if (known) {
      return known.then((agent) => {
        if (!agent.closed) return agent;
        this.#agents.delete(name);
        return this.#agent({ name, directory } as Vm);
      });
    }
    const opening = AgentConnection.open(join(directory, machineDir, 'agent'));
    this.#agents.set(name, opening);
    opening.then(
      (agent) => this.#closeWhenIdle(name, agent),
      () => this.#agents.delete(name),
    );
    return opening;
  }

  #closeWhenIdle(name: string, agent: AgentConnection): void {
    const timer = setTimeout(() => {
      if (agent.closed) return;
      if (agent.channels > 0) return this.#closeWhenIdle(name, agent);
      this.#agents.delete(name);
      agent.close();
    }, idleMaxMs);
    timer.unref();
  }
}

function ownOf(state: Vm['state']): Own {
  return state.own as unknown as Own;
}

function checkSpec({ instance, template }: GuestSpec): void {
  const refuse = (what: string): never => {
    throw new CloudosError('GUEST_SPEC_INVALID', `${instance}: ${what}`);
  };
  const { memoryBytes } = template.limits;
  if (memoryBytes > 0 && memoryBytes < memoryMinBytes) {
    refuse(`a virtual machine with Linux needs ${memoryMinBytes} bytes of memory at the least, not ${memoryBytes}`);
  }
  if (template.mounts?.length) refuse('paths of the node cannot be mounted in a virtual machine');
  if (template.workingDir !== undefined && !template.workingDir.startsWith('/')) {
    refuse(`the working directory ${template.workingDir} is not an absolute path`);
  }
}

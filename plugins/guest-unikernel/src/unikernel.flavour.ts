import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hostName } from '@cloudos/host-tools';
import {
  connectUnix,
  type Machine,
  machineDir,
  type QemuEnd,
  type Vm,
  type VmFlavour,
  type VmImages,
  type VmState,
} from '@cloudos/qemu';
import { CloudosError, type GuestExit, type GuestSpec } from '@cloudos/sdk';
import { commandLine, commandLineConfig, commandLineMaxBytes } from './command-line.ts';
import { type FoundUnikernel, findUnikernel, writeUnikernel } from './unikernel-image.ts';

export interface UnikernelOptions {
  readonly accelerator: 'kvm' | 'tcg';
  /** Memory of a unikernel without a limit. */
  readonly memoryBytes: number;
  readonly images: VmImages;
  readonly environment: (spec: GuestSpec) => Promise<Readonly<Record<string, string>>>;
}

export const memoryMinBytes = 2 * 2 ** 20;
const memoryMaxBytes = 3 * 2 ** 30;
/** QEMU's own: 40 MB measured, with the buffer for translated code. */
const overheadBytes = 96 * 2 ** 20;
/** End of text: what a terminal sends for Control-C. */
const endOfText = '\u0003';
const askMaxMs = 1_000;
const kernelFile = 'kernel.elf';
/** What QEMU reads the command line of a guest with secrets from: its own arguments are for everybody to read. */
const lineFile = 'line.cfg';
/** Where programs leave: I/O port 0xf4 takes the exit code and one, and QEMU ends with twice that and one. */
const exitPort = ['-device', 'isa-debug-exit,iobase=0xf4,iosize=4'];
const status = { failure: 1, codesFrom: 3, panic: 125, outOfMemory: 127, killed: 137 } as const;

/** A unikernel on QEMU's microvm: no firmware, no PCI, two serial ports, a console, a network card. */
export class UnikernelFlavour implements VmFlavour {
  readonly runtime = 'unikernel';
  readonly #options: UnikernelOptions;

  constructor(options: UnikernelOptions) {
    this.#options = options;
  }

  async admit(spec: GuestSpec): Promise<Readonly<Record<string, unknown>>> {
    checkSpec(spec);
    return { ...(await findUnikernel(this.#options.images, spec.template.image)) };
  }

  async fill({ directory, name, state }: Vm): Promise<void> {
    const { images } = this.#options;
    const found = state.own as unknown as FoundUnikernel;
    await images.hold(found.digest, name);
    try {
      await writeUnikernel(images, found, join(directory, machineDir, kernelFile));
    } catch (error) {
      await images.release(found.digest, name);
      throw error;
    }
  }

  async removed({ name, state }: Vm): Promise<void> {
    await this.#options.images.release((state.own as unknown as FoundUnikernel).digest, name);
  }

  async prepare({ directory, state }: Vm): Promise<void> {
    if (!hasSecrets(state.spec)) return;
    const text = commandLineConfig(state.spec.instance, await this.#line(state));
    await writeFile(join(directory, machineDir, lineFile), text);
  }

  async machine({ state }: Vm): Promise<Machine> {
    const own = state.own as unknown as FoundUnikernel;
    const memoryBytes = state.spec.template.limits.memoryBytes || this.#options.memoryBytes;
    const kibibytes = Math.floor(memoryBytes / 1024);
    return {
      args: [
        ...this.#hardware(kibibytes, state.network?.mac),
        ...['-kernel', kernelFile],
        ...(hasSecrets(state.spec) ? ['-readconfig', lineFile] : ['-append', await this.#line(state)]),
      ],
      files: [],
      memoryBytes: memoryBytes + overheadBytes,
      disks: [],
      shape: `unikernel ${own.digest} ${kibibytes}K`,
    };
  }

  /** @throws CloudosError GUEST_SPEC_INVALID when it is too long; of a secret that is not there */
  async #line(state: VmState): Promise<string> {
    const { template, instance } = state.spec;
    const own = state.own as unknown as FoundUnikernel;
    const asked = [...(template.command ?? []), ...(template.args ?? [])];
    const parts = {
      words: template.command || template.args ? asked : own.command,
      env: await this.#options.environment(state.spec),
      network: state.network,
      hostName: template.hostname ?? hostName(instance),
      workingDir: template.workingDir ?? '/',
    };
    const line = commandLine(parts, own.arguments);
    if (Buffer.byteLength(line) > commandLineMaxBytes) {
      throw new CloudosError(
        'GUEST_SPEC_INVALID',
        `${instance}: command and variables make a command line of ${Buffer.byteLength(line)} bytes, at most ${commandLineMaxBytes}`,
      );
    }
    return line;
  }

  #hardware(kibibytes: number, mac: string | undefined): string[] {
    const { accelerator } = this.#options;
    return [
      ...['-M', 'microvm,acpi=off,x-option-roms=off,rtc=off', '-m', `${kibibytes}K`, '-no-reboot'],
      ...['-accel', accelerator === 'tcg' ? 'tcg,tb-size=16' : 'kvm', '-cpu', 'qemu64'],
      ...['-global', 'virtio-mmio.force-legacy=false'],
      ...['-serial', 'chardev:out', '-device', 'isa-serial,iobase=0x2f8,irq=3,chardev=err'],
      ...['-chardev', 'socket,id=hvc0,path=hvc0,server=on,wait=off'],
      ...['-device', 'virtio-serial-device', '-device', 'virtconsole,chardev=hvc0'],
      ...['-device', `virtio-net-device,netdev=n0${mac === undefined ? '' : `,mac=${mac}`}`],
      ...exitPort,
    ];
  }

  /** A unikernel that was moved believes to be the guest that it was: it is told who it is now. */
  async started(vm: Vm, _qmp: unknown, resumed: boolean): Promise<void> {
    await rm(join(vm.directory, machineDir, lineFile), { force: true });
    if (!resumed || vm.state.network?.kind !== 'bridge') return;
    await say(vm, `\u0001ip=${vm.state.network.address} mac=${vm.state.network.mac}\n`);
  }

  async askToStop(vm: Vm): Promise<void> {
    await say(vm, endOfText);
  }

  async explain(vm: Vm, end: QemuEnd): Promise<Omit<GuestExit, 'instance' | 'attempt'>> {
    const { memoryBytes } = vm.state.spec.template.limits;
    if (end.status === 'lost') {
      const message = 'what waits for QEMU was killed, so that nobody saw how it ended';
      return { exitCode: null, signal: null, reason: 'lost', message };
    }
    if (end.status === status.outOfMemory || (end.status === status.killed && end.oomKills > 0)) {
      const message = `the unikernel had no memory left of ${memoryBytes || this.#options.memoryBytes} bytes`;
      return { exitCode: null, signal: 'SIGKILL', reason: 'oom-killed', message };
    }
    if (end.status > 128) {
      const signal = end.status === status.killed ? 'SIGKILL' : `signal ${end.status - 128}`;
      return { exitCode: null, signal, reason: 'signalled', message: 'QEMU was ended from outside' };
    }
    if (end.status === status.panic) {
      const message = 'the unikernel panicked; its logs say why';
      return { exitCode: status.panic, signal: null, reason: 'exited', message };
    }
    if (end.status === status.failure) {
      return { exitCode: null, signal: null, reason: 'lost', message: 'QEMU failed' };
    }
    const code = end.status === 0 ? 0 : Math.floor((end.status - status.codesFrom) / 2);
    return { exitCode: code, signal: null, reason: 'exited' };
  }
}

/** Writes to the console channel of a unikernel. */
async function say({ directory }: Vm, text: string): Promise<void> {
  const socket = await connectUnix(join(directory, machineDir, 'hvc0'), askMaxMs);
  socket.on('error', () => {});
  await new Promise<void>((resolve) => socket.end(text, () => resolve()));
}

function hasSecrets({ template }: GuestSpec): boolean {
  return template.env.some((variable) => 'secret' in variable);
}

function checkSpec({ instance, template }: GuestSpec): void {
  const refuse = (what: string): never => {
    throw new CloudosError('GUEST_SPEC_INVALID', `${instance}: ${what}`);
  };
  const { memoryBytes } = template.limits;
  if (memoryBytes > 0 && (memoryBytes < memoryMinBytes || memoryBytes > memoryMaxBytes)) {
    refuse(`a unikernel has between ${memoryMinBytes} and ${memoryMaxBytes} bytes of memory, not ${memoryBytes}`);
  }
  if (template.mounts?.length) refuse('a unikernel has no file system to mount paths of the node in');
  if (template.user !== undefined && template.user !== 0) refuse('a unikernel knows no users');
}

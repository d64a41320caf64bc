import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { release } from 'node:os';
import { join } from 'node:path';
import { findTool, toolEnvironment } from '@cloudos/host-tools';
import { loopImage } from './loop-image.ts';

export type Accelerator = 'kvm' | 'tcg';

/** Which accelerator guests get here, and the measurement that says so. */
export interface AcceleratorChoice {
  readonly accelerator: Accelerator;
  /** In words, with figures. */
  readonly reason: string;
  /** From the start of QEMU to the end of the loop, in milliseconds. Absent: it did not end, or was not tried. */
  readonly kvmMs?: number;
  readonly tcgMs?: number;
}

const iterations = 200_000;
const loopMaxMs = 5_000;
/** KVM that runs guests on the processor is faster than TCG at anything; one that emulates is slower by far. */
const soundRatio = 2;
const device = '/dev/kvm';

/**
 * Times a loop of a guest under KVM and under TCG. KVM is chosen where it is there and not slower: below a hypervisor
 * without nested virtualization the device may exist while every instruction is emulated, or guests die.
 * The answer holds until the next boot and is kept in `directory`. Takes some 100 ms, at most 10 s.
 */
export async function chooseAccelerator(qemu: string, directory: string): Promise<AcceleratorChoice> {
  if (!isUsable()) return { accelerator: 'tcg', reason: `${device} is not there or may not be opened` };
  const key = `${await bootId()} ${release()} ${qemu}`;
  const file = join(directory, 'accelerator.json');
  const kept = await readFile(file, 'utf8').then(parseKept, () => undefined);
  if (kept?.key === key) return kept.choice;
  const choice = await measure(qemu, directory);
  await writeFile(`${file}.tmp`, JSON.stringify({ key, choice }));
  await rename(`${file}.tmp`, file);
  return choice;
}

function parseKept(text: string): { key: string; choice: AcceleratorChoice } | undefined {
  try {
    return JSON.parse(text) as { key: string; choice: AcceleratorChoice };
  } catch {
    return undefined;
  }
}

async function measure(qemu: string, parent: string): Promise<AcceleratorChoice> {
  await mkdir(parent, { recursive: true, mode: 0o700 });
  const directory = await mkdtemp(join(parent, '.probe-'));
  try {
    const image = join(directory, 'loop.elf');
    await writeFile(image, loopImage(iterations));
    const tcgMs = await timeLoop(qemu, image, 'tcg');
    const kvmMs = await timeLoop(qemu, image, 'kvm');
    return judge(kvmMs, tcgMs);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** What two measurements mean; undefined: the loop did not come to its end. */
export function judge(kvmMs: number | undefined, tcgMs: number | undefined): AcceleratorChoice {
  const figures = { ...(kvmMs === undefined ? {} : { kvmMs }), ...(tcgMs === undefined ? {} : { tcgMs }) };
  const took = (ms: number | undefined) => (ms === undefined ? `not in ${loopMaxMs} ms` : `in ${ms} ms`);
  const compared = `a guest's loop of ${iterations} rounds ended ${took(kvmMs)} under KVM and ${took(tcgMs)} under TCG`;
  if (kvmMs !== undefined && (tcgMs === undefined || kvmMs <= tcgMs * soundRatio)) {
    return { accelerator: 'kvm', reason: compared, ...figures };
  }
  return { accelerator: 'tcg', reason: `KVM is unsound here: ${compared}`, ...figures };
}

function timeLoop(qemu: string, image: string, accelerator: Accelerator): Promise<number | undefined> {
  const args = ['-M', 'microvm,acpi=off,x-option-roms=off,rtc=off', '-accel', accelerator, '-m', '8', '-nodefaults'];
  const rest = ['-no-user-config', '-display', 'none', '-kernel', image, '-no-reboot'];
  const exit = ['-device', 'isa-debug-exit,iobase=0xf4,iosize=4'];
  return new Promise((resolve) => {
    const startedAt = performance.now();
    const child = spawn(qemu, [...args, ...rest, ...exit], { env: { ...toolEnvironment }, stdio: 'ignore', cwd: '/' });
    const timer = setTimeout(() => child.kill('SIGKILL'), loopMaxMs);
    child.once('error', () => resolve(undefined));
    child.once('exit', (code) => {
      clearTimeout(timer);
      resolve(code === 1 + 2 * 42 ? Math.round(performance.now() - startedAt) : undefined);
    });
  });
}

function isUsable(): boolean {
  try {
    accessSync(device, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

async function bootId(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '')).trim();
}

/** Path and version of QEMU for this machine's architecture; undefined: it is not installed. */
export async function findQemu(): Promise<{ path: string; version: string } | undefined> {
  const path = findTool('qemu-system-x86_64');
  if (path === undefined) return undefined;
  const said = await new Promise<string>((resolve) => {
    const child = spawn(path, ['--version'], { env: { ...toolEnvironment }, stdio: ['ignore', 'pipe', 'ignore'] });
    let text = '';
    child.stdout.on('data', (data: Buffer) => {
      text += data.toString();
    });
    child.once('error', () => resolve(''));
    child.once('close', () => resolve(text));
  });
  const version = /version (\d+(\.\d+)+)/.exec(said)?.[1];
  return version === undefined ? undefined : { path, version };
}

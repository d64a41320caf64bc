import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findProgram } from './host-tools.ts';

/**
 * - `absent`: no /dev/kvm
 * - `forbidden`: it is there and cannot be opened
 * - `unproven`: it opens; nothing here can try it
 * - `sound`: a guest ran a loop on it in the time that a processor takes
 * - `unsound`: it did not, so that emulation is the better choice
 */
export type KvmState = 'absent' | 'forbidden' | 'unproven' | 'sound' | 'unsound';

export interface KvmReport {
  readonly state: KvmState;
  readonly found: string;
}

/** A processor runs the loop in some milliseconds; nested virtualisation that traps each step takes seconds. */
const soundMaxMs = 1_500;
const givenUpMs = 5_000;
/** Isolated port of QEMU's `isa-debug-exit` device: a write of 0x2a ends QEMU with status 85. */
const doneStatus = (0x2a << 1) | 1;

/**
 * A boot sector of 16-bit code, so that nothing has to be compiled or downloaded: counts down from 20 million, then
 * writes to the debug port. Intel SDM volume 2 for the encodings.
 */
const bootSector = (() => {
  const code = [
    ...[0xfa], // cli
    ...[0x66, 0xb9, 0x00, 0x2d, 0x31, 0x01], // mov ecx, 20000000
    ...[0x66, 0x49], // dec ecx
    ...[0x75, 0xfc], // jnz -4
    ...[0xba, 0xf4, 0x00], // mov dx, 0xf4
    ...[0xb0, 0x2a], // mov al, 0x2a
    ...[0xee], // out dx, al
    ...[0xf4], // hlt
  ];
  const sector = Buffer.alloc(512);
  sector.set(code);
  sector.writeUInt16LE(0xaa55, 510);
  return sector;
})();

/** Opens the device and, where QEMU is installed, times a small loop in a guest. At most 5 s. */
export async function probeKvm(device = '/dev/kvm'): Promise<KvmReport> {
  if (!existsSync(device)) return { state: 'absent', found: `no ${device}` };
  try {
    closeSync(openSync(device, 'r+'));
  } catch (error) {
    return { state: 'forbidden', found: `${device} cannot be opened: ${(error as NodeJS.ErrnoException).code}` };
  }
  const qemu = process.arch === 'x64' ? findProgram('qemu-system-x86_64') : undefined;
  if (qemu === undefined) return { state: 'unproven', found: `${device} opens; no QEMU to try it with` };
  const tookMs = await timeLoop(qemu);
  if (tookMs === undefined) return { state: 'unsound', found: `a small loop did not end in ${givenUpMs} ms` };
  const state = tookMs <= soundMaxMs ? 'sound' : 'unsound';
  return { state, found: `a small loop took ${Math.round(tookMs)} ms (sound: at most ${soundMaxMs})` };
}

async function timeLoop(qemu: string): Promise<number | undefined> {
  const directory = await mkdtemp(join(tmpdir(), 'cloudos-kvm-'));
  try {
    const image = join(directory, 'boot');
    await writeFile(image, bootSector);
    const args = ['-accel', 'kvm', '-M', 'pc', '-m', '16', '-display', 'none', '-nodefaults', '-no-reboot'];
    const disk = ['-drive', `file=${image},format=raw,if=floppy`, '-device', 'isa-debug-exit,iobase=0xf4,iosize=1'];
    const begin = performance.now();
    const status = await new Promise<number | null>((resolve) => {
      const child = spawn(qemu, [...args, ...disk], { stdio: 'ignore', timeout: givenUpMs, killSignal: 'SIGKILL' });
      child.once('error', () => resolve(null));
      child.once('exit', (code) => resolve(code));
    });
    return status === doneStatus ? performance.now() - begin : undefined;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
